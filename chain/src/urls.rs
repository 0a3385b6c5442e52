//! Where the chain is asked: one endpoint, or several in the order of preference.

use serde::{Deserialize, Serialize};

/// One or more RPC URLs, none twice. In a config file a string or a list of strings.
///
/// Others than the first are asked when the first fails. What money hangs on is asked of all, and counts when more than half of those that
/// answer say the same: two endpoints notice a lie, three survive one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "OneOrMany", into = "OneOrMany")]
pub struct RpcUrls {
    first: String,
    others: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a URL, or a list of URLs")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl RpcUrls {
    /// The preferred one.
    pub fn first(&self) -> &str {
        &self.first
    }

    /// All, the preferred one first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.first).chain(&self.others).map(String::as_str)
    }
}

impl From<&str> for RpcUrls {
    fn from(url: &str) -> Self {
        Self::from(url.to_owned())
    }
}

impl From<String> for RpcUrls {
    fn from(url: String) -> Self {
        Self { first: url, others: Vec::new() }
    }
}

impl TryFrom<Vec<String>> for RpcUrls {
    type Error = &'static str;

    fn try_from(mut urls: Vec<String>) -> Result<Self, Self::Error> {
        // One node that is named twice would vouch for itself.
        let twice = urls.iter().enumerate().any(|(i, url)| urls.iter().skip(i + 1).any(|other| other == url));
        if twice {
            return Err("an RPC URL is there twice; name each node once");
        }
        if urls.is_empty() {
            return Err("there is no RPC URL; name at least one");
        }
        let first = urls.remove(0);
        Ok(Self { first, others: urls })
    }
}

impl TryFrom<OneOrMany> for RpcUrls {
    type Error = &'static str;

    fn try_from(urls: OneOrMany) -> Result<Self, Self::Error> {
        match urls {
            OneOrMany::One(url) => Ok(Self::from(url)),
            OneOrMany::Many(urls) => Self::try_from(urls),
        }
    }
}

impl From<RpcUrls> for OneOrMany {
    fn from(urls: RpcUrls) -> Self {
        match urls.others.is_empty() {
            true => Self::One(urls.first),
            false => Self::Many(urls.all().map(str::to_owned).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_or_a_list_and_none_twice() {
        let read = |text: &str| serde_json::from_str::<RpcUrls>(text).map_err(|error| error.to_string());
        let all = |urls: &RpcUrls| urls.all().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(read("\"http://a\"").unwrap(), RpcUrls::from("http://a"));
        let two = read("[\"http://a\", \"http://b\"]").unwrap();
        assert_eq!((two.first(), all(&two)), ("http://a", vec!["http://a".to_owned(), "http://b".to_owned()]));
        assert_eq!(read(&serde_json::to_string(&two).unwrap()).unwrap(), two);
        assert!(read("[]").unwrap_err().contains("at least one"));
        assert!(read("[\"http://a\", \"http://a\"]").unwrap_err().contains("twice"));
        assert!(read("7").unwrap_err().contains("a list of URLs"));
    }
}
