//! Typed bindings generated from the committed ABI of the contracts, creation bytecode included, so that
//! `OracleRegistry::deploy(provider, …)` works. No logic lives here. `npm run contracts:export` renews the files in `abi/`,
//! `npm run contracts:check` fails when they are not what the sources give.
//!
//! The ABI describes structs by their Solidity names: the report is `SlaSettlement::Report`, its members are as in
//! `docs/protocol.md`.
#![allow(missing_docs)]
#![allow(clippy::all)]

// The macro reads these files behind cargo's back: named here, a change of one is a change of the crate.
const _: [&[u8]; 11] = [
    include_bytes!("../abi/AggregationCourt.json"),
    include_bytes!("../abi/CapacityMarket.json"),
    include_bytes!("../abi/EquivocationCourt.json"),
    include_bytes!("../abi/Keeper.json"),
    include_bytes!("../abi/OracleRegistry.json"),
    include_bytes!("../abi/ProviderRegistry.json"),
    include_bytes!("../abi/ProviderStanding.json"),
    include_bytes!("../abi/SignersCourt.json"),
    include_bytes!("../abi/SlaOracle.json"),
    include_bytes!("../abi/SlaSettlement.json"),
    include_bytes!("../abi/TestToken.json"),
];

alloy_sol_types::sol!(
    #[sol(rpc)]
    #[derive(Debug)]
    AggregationCourt,
    "abi/AggregationCourt.json"
);

// The interface's structs name them, and they are declared beside the contract.
use AggregationCourt::{Report, Verdict};

alloy_sol_types::sol!(
    #[sol(rpc)]
    #[derive(Debug)]
    CapacityMarket,
    "abi/CapacityMarket.json"
);

// The interface's structs name it, and it is declared beside the contract.
use CapacityMarket::Term;

alloy_sol_types::sol!(
    #[sol(rpc)]
    #[derive(Debug)]
    EquivocationCourt,
    "abi/EquivocationCourt.json"
);

alloy_sol_types::sol!(
    #[sol(rpc)]
    #[derive(Debug)]
    Keeper,
    "abi/Keeper.json"
);

alloy_sol_types::sol!(
    #[sol(rpc)]
    #[derive(Debug)]
    OracleRegistry,
    "abi/OracleRegistry.json"
);

alloy_sol_types::sol!(
    #[sol(rpc)]
    #[derive(Debug)]
    ProviderRegistry,
    "abi/ProviderRegistry.json"
);

alloy_sol_types::sol!(
    #[sol(rpc)]
    #[derive(Debug)]
    ProviderStanding,
    "abi/ProviderStanding.json"
);

alloy_sol_types::sol!(
    #[sol(rpc)]
    #[derive(Debug)]
    SignersCourt,
    "abi/SignersCourt.json"
);

alloy_sol_types::sol!(
    #[sol(rpc)]
    #[derive(Debug)]
    SlaOracle,
    "abi/SlaOracle.json"
);

alloy_sol_types::sol!(
    #[sol(rpc)]
    #[derive(Debug)]
    SlaSettlement,
    "abi/SlaSettlement.json"
);

alloy_sol_types::sol!(
    #[sol(rpc)]
    #[derive(Debug)]
    TestToken,
    "abi/TestToken.json"
);
