//! The data owner's side: encrypt, upload, register.
