// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICapacityMarket} from "../src/interfaces/ICapacityMarket.sol";
import {ISlaSettlement} from "../src/interfaces/ISlaSettlement.sol";
import {Parameters} from "./Parameters.sol";
import {vm} from "./ScriptVm.sol";

/// The contracts of a deployment, in the order in which they are created: each needs only earlier ones.
enum Part {
    Token,
    Timelock,
    OracleRegistry,
    ProviderRegistry,
    SlaSettlement,
    SlaOracle,
    ProviderStanding,
    CapacityMarket,
    MarketLens,
    Keeper,
    AggregationCourt,
    CompletenessCourt,
    EquivocationCourt,
    OmissionCourt,
    SeedCourt,
    SignersCourt,
    WithheldCourt
}

uint256 constant PARTS = 17;
// From here on all parts are courts.
uint256 constant FIRST_COURT = uint256(Part.AggregationCourt);

/// @title What is deployed, and with which arguments
/// @notice One place for both scripts: the checker creates each contract again and compares.
library Plan {
    error NotCreated(string name);

    function name(Part part) internal pure returns (string memory) {
        if (part == Part.Token) return "TestToken";
        if (part == Part.Timelock) return "TimelockController";
        if (part == Part.OracleRegistry) return "OracleRegistry";
        if (part == Part.ProviderRegistry) return "ProviderRegistry";
        if (part == Part.SlaSettlement) return "SlaSettlement";
        if (part == Part.SlaOracle) return "SlaOracle";
        if (part == Part.ProviderStanding) return "ProviderStanding";
        if (part == Part.CapacityMarket) return "CapacityMarket";
        if (part == Part.MarketLens) return "MarketLens";
        if (part == Part.Keeper) return "Keeper";
        if (part == Part.AggregationCourt) return "AggregationCourt";
        if (part == Part.CompletenessCourt) return "CompletenessCourt";
        if (part == Part.EquivocationCourt) return "EquivocationCourt";
        if (part == Part.OmissionCourt) return "OmissionCourt";
        if (part == Part.SeedCourt) return "SeedCourt";
        if (part == Part.SignersCourt) return "SignersCourt";
        return "WithheldCourt";
    }

    /// @param addressOf the addresses of all earlier parts.
    function arguments(Part part, Parameters memory p, address[PARTS] memory addressOf, address deployer)
        internal
        pure
        returns (bytes memory)
    {
        if (uint256(part) >= FIRST_COURT) return _courtArguments(part, p, addressOf);
        address timelock = addressOf[uint256(Part.Timelock)];
        address settlement = addressOf[uint256(Part.SlaSettlement)];
        address market = addressOf[uint256(Part.CapacityMarket)];
        if (part == Part.Timelock) return _timelockArguments(deployer);
        if (part == Part.OracleRegistry) return abi.encode(addressOf[0], p.oracleMinStake, p.minSetSeconds, p.oracles);
        if (part == Part.ProviderRegistry) return abi.encode(addressOf[0], p.providerMinStake, p.providers);
        if (part == Part.SlaSettlement) {
            return abi.encode(settlementConfig(p, addressOf), ISlaSettlement.Roles(timelock, p.governance.guardian, p.escapeDelay));
        }
        if (part == Part.SlaOracle) return abi.encode(settlement);
        if (part == Part.ProviderStanding) return abi.encode(settlement, addressOf[uint256(Part.SlaOracle)], timelock, p.standing);
        if (part == Part.CapacityMarket) return abi.encode(marketConfig(p, addressOf), p.fees, timelock);
        if (part == Part.MarketLens) return abi.encode(market);
        if (part == Part.Keeper) return abi.encode(settlement, market, timelock);
        return ""; // the token's
    }

    function settlementConfig(Parameters memory p, address[PARTS] memory addressOf) internal pure returns (ISlaSettlement.Config memory c) {
        c = p.settlement;
        c.token = addressOf[uint256(Part.Token)];
        c.oracleRegistry = addressOf[uint256(Part.OracleRegistry)];
        c.providerRegistry = addressOf[uint256(Part.ProviderRegistry)];
    }

    function marketConfig(Parameters memory p, address[PARTS] memory addressOf) internal pure returns (ICapacityMarket.Config memory c) {
        c = p.market;
        c.settlement = addressOf[uint256(Part.SlaSettlement)];
        c.oracle = addressOf[uint256(Part.SlaOracle)];
        c.standing = addressOf[uint256(Part.ProviderStanding)];
    }

    function create(Part part, bytes memory arguments_) internal returns (address created) {
        // The very bytecode that `forge build` gives.
        bytes memory code = bytes.concat(vm.getCode(string.concat("out/", name(part), ".sol/", name(part), ".json")), arguments_);
        assembly ("memory-safe") {
            created := create(0, add(code, 0x20), mload(code))
        }
        if (created == address(0)) revert NotCreated(name(part));
    }

    /// Without a delay and under the deployer, until the opening operation hands it over.
    function _timelockArguments(address deployer) private pure returns (bytes memory) {
        address[] memory one = new address[](1);
        one[0] = deployer;
        return abi.encode(uint256(0), one, one, address(0));
    }

    function _courtArguments(Part part, Parameters memory p, address[PARTS] memory addressOf) private pure returns (bytes memory) {
        address settlement = addressOf[uint256(Part.SlaSettlement)];
        if (part == Part.AggregationCourt) return abi.encode(settlement, p.courts.aggregationSlashPpm);
        if (part == Part.CompletenessCourt) return abi.encode(settlement, p.courts.completenessSlashPpm);
        if (part == Part.EquivocationCourt) return abi.encode(settlement, p.courts.equivocationSlashPpm);
        if (part == Part.OmissionCourt) return abi.encode(settlement, p.courts.dispute);
        if (part == Part.SeedCourt) return abi.encode(settlement, p.courts.seedSlashPpm, p.courts.beacon, p.courts.slotMs);
        if (part == Part.SignersCourt) {
            return abi.encode(settlement, p.courts.signersSlashPpm, p.courts.reviewSeconds, addressOf[uint256(Part.Timelock)]);
        }
        return abi.encode(settlement, p.courts.withheldSlashPpm, p.courts.dispute);
    }
}
