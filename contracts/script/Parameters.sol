// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICapacityMarket} from "../src/interfaces/ICapacityMarket.sol";
import {IDisputeCourt} from "../src/interfaces/IDisputeCourt.sol";
import {IKeeper} from "../src/interfaces/IKeeper.sol";
import {IOracleRegistry} from "../src/interfaces/IOracleRegistry.sol";
import {IProviderRegistry} from "../src/interfaces/IProviderRegistry.sol";
import {IProviderStanding} from "../src/interfaces/IProviderStanding.sol";
import {ISeedCourt} from "../src/interfaces/ISeedCourt.sol";
import {ISlaSettlement} from "../src/interfaces/ISlaSettlement.sol";
import {vm} from "./ScriptVm.sol";

/// Who governs, once the deployer is done.
struct Governance {
    uint256 delay; // seconds that the timelock shows a change before it acts
    address proposer; // proposes and cancels
    address executor; // zero: anyone executes what is due
    address guardian;
}

struct Courts {
    uint256 aggregationSlashPpm;
    uint256 completenessSlashPpm;
    uint256 equivocationSlashPpm;
    uint256 seedSlashPpm;
    uint256 signersSlashPpm;
    uint256 withheldSlashPpm;
    uint64 reviewSeconds; // of SignersCourt
    IDisputeCourt.Terms dispute; // of OmissionCourt and WithheldCourt
    ISeedCourt.Beacon beacon;
    uint64 slotMs;
}

struct Tip {
    uint128 tip;
    uint32 perDay;
}

/// All that a deployment is given. Addresses inside `settlement` and `market` are zero: they are known once deployed.
struct Parameters {
    uint256 chainId;
    address token; // zero: a TestToken, on a development chain only
    Governance governance;
    uint256 oracleMinStake;
    uint64 minSetSeconds;
    IOracleRegistry.Terms oracles;
    uint256 providerMinStake;
    IProviderRegistry.Terms providers;
    ISlaSettlement.Config settlement;
    uint64 escapeDelay;
    IProviderStanding.Terms standing;
    ICapacityMarket.Config market;
    ICapacityMarket.Fees fees;
    Tip[4] tips; // by IKeeper.Action
    Courts courts;
}

/// @title Reads the parameters of a deployment
/// @notice Every key is required and none may be added, so that a misspelt one is an error. Amounts may be strings.
library ParametersJson {
    error UnknownKeys(string section, uint256 expected, uint256 found);
    error TooLarge(string key, uint256 value);

    /// @param section where the object lies in `json`: "" for the whole.
    function read(string memory json, string memory section) internal pure returns (Parameters memory p) {
        _expectKeys(json, section, 9);
        p.chainId = _uint(json, section, ".chainId");
        p.token = vm.parseJsonAddress(json, string.concat(section, ".token"));
        p.governance = _governance(json, string.concat(section, ".governance"));
        _oracles(json, string.concat(section, ".oracles"), p);
        _providers(json, string.concat(section, ".providers"), p);
        _settlement(json, string.concat(section, ".settlement"), p);
        p.standing = _standing(json, string.concat(section, ".standing"));
        _market(json, string.concat(section, ".market"), p);
        p.courts = _courts(json, string.concat(section, ".courts"));
    }

    function _governance(string memory json, string memory section) private pure returns (Governance memory) {
        _expectKeys(json, section, 4);
        return Governance({
            delay: _uint(json, section, ".delaySeconds"),
            proposer: vm.parseJsonAddress(json, string.concat(section, ".proposer")),
            executor: vm.parseJsonAddress(json, string.concat(section, ".executor")),
            guardian: vm.parseJsonAddress(json, string.concat(section, ".guardian"))
        });
    }

    function _oracles(string memory json, string memory section, Parameters memory p) private pure {
        _expectKeys(json, section, 6);
        p.oracleMinStake = _uint(json, section, ".minStake");
        p.minSetSeconds = _uint64(json, section, ".minSetSeconds");
        p.oracles = IOracleRegistry.Terms({
            unbondingSeconds: _uint64(json, section, ".unbondingSeconds"),
            evidenceSeconds: _uint64(json, section, ".evidenceSeconds"),
            rollCallSeconds: _uint64(json, section, ".rollCallSeconds"),
            operatorCapPpm: uint32(_bounded(json, section, ".operatorCapPpm", type(uint32).max))
        });
    }

    function _providers(string memory json, string memory section, Parameters memory p) private pure {
        _expectKeys(json, section, 4);
        p.providerMinStake = _uint(json, section, ".minStake");
        p.providers.unbondingSeconds = _uint64(json, section, ".unbondingSeconds");
        p.providers.evidenceSeconds = _uint64(json, section, ".evidenceSeconds");
        p.providers.classes = _classes(json, string.concat(section, ".stakePerGib"));
    }

    /// An object: class id → stake behind each GiB.
    function _classes(string memory json, string memory section) private pure returns (IProviderRegistry.ClassStake[] memory classes) {
        string[] memory ids = vm.parseJsonKeys(json, section);
        classes = new IProviderRegistry.ClassStake[](ids.length);
        for (uint256 i = 0; i < ids.length; ++i) {
            uint256 perGib = vm.parseJsonUint(json, string.concat(section, "['", ids[i], "']"));
            classes[i] = IProviderRegistry.ClassStake(_classId(ids[i]), perGib);
        }
    }

    function _settlement(string memory json, string memory section, Parameters memory p) private pure {
        _expectKeys(json, section, 9);
        p.settlement.genesis = _uint64(json, section, ".genesis");
        p.settlement.epochLength = _uint64(json, section, ".epochLength");
        p.settlement.validEpochs = _uint64(json, section, ".validEpochs");
        p.settlement.rewardWindow = _uint64(json, section, ".rewardWindow");
        p.settlement.slashWindow = _uint64(json, section, ".slashWindow");
        p.settlement.epochBudget = _uint(json, section, ".epochBudget");
        p.settlement.slashCapPpm = _uint(json, section, ".slashCapPpm");
        p.settlement.paramsHash = vm.parseJsonBytes32(json, string.concat(section, ".paramsHash"));
        p.escapeDelay = _uint64(json, section, ".escapeDelay");
    }

    function _standing(string memory json, string memory section) private pure returns (IProviderStanding.Terms memory) {
        _expectKeys(json, section, 4);
        return IProviderStanding.Terms({
            graceSeconds: _uint64(json, section, ".graceSeconds"),
            reviewSeconds: _uint64(json, section, ".reviewSeconds"),
            presentSeconds: _uint64(json, section, ".presentSeconds"),
            minPanel: _uint64(json, section, ".minPanel")
        });
    }

    function _market(string memory json, string memory section, Parameters memory p) private pure {
        _expectKeys(json, section, 10);
        p.market.noticeEpochs = _uint64(json, section, ".noticeEpochs");
        p.market.horizonEpochs = _uint64(json, section, ".horizonEpochs");
        p.market.unsettledDelay = _uint64(json, section, ".unsettledDelay");
        p.market.maxMarginPpm = _uint24(json, section, ".maxMarginPpm");
        p.market.subsidyPpm = _uint24(json, section, ".subsidyPpm");
        p.market.subsidyEpochs = _uint64(json, section, ".subsidyEpochs");
        p.fees.marginPpm = _uint24(json, section, ".marginPpm");
        p.fees.oracleSharePpm = _uint24(json, section, ".oracleSharePpm");
        p.fees.treasury = vm.parseJsonAddress(json, string.concat(section, ".treasury"));
        string memory tips = string.concat(section, ".tips");
        _expectKeys(json, tips, 4);
        p.tips[uint256(IKeeper.Action.Report)] = _tip(json, string.concat(tips, ".report"));
        p.tips[uint256(IKeeper.Action.Claim)] = _tip(json, string.concat(tips, ".claim"));
        p.tips[uint256(IKeeper.Action.Slash)] = _tip(json, string.concat(tips, ".slash"));
        p.tips[uint256(IKeeper.Action.Booking)] = _tip(json, string.concat(tips, ".booking"));
    }

    function _tip(string memory json, string memory section) private pure returns (Tip memory) {
        _expectKeys(json, section, 2);
        return
            Tip(uint128(_bounded(json, section, ".tip", type(uint128).max)), uint32(_bounded(json, section, ".perDay", type(uint32).max)));
    }

    function _courts(string memory json, string memory section) private pure returns (Courts memory c) {
        _expectKeys(json, section, 10);
        c.aggregationSlashPpm = _uint(json, section, ".aggregationSlashPpm");
        c.completenessSlashPpm = _uint(json, section, ".completenessSlashPpm");
        c.equivocationSlashPpm = _uint(json, section, ".equivocationSlashPpm");
        c.seedSlashPpm = _uint(json, section, ".seedSlashPpm");
        c.signersSlashPpm = _uint(json, section, ".signersSlashPpm");
        c.withheldSlashPpm = _uint(json, section, ".withheldSlashPpm");
        c.reviewSeconds = _uint64(json, section, ".reviewSeconds");
        c.slotMs = _uint64(json, section, ".slotMs");

        string memory dispute = string.concat(section, ".dispute");
        _expectKeys(json, dispute, 3);
        c.dispute = IDisputeCourt.Terms({
            bond: _uint(json, dispute, ".bond"),
            responseSeconds: _uint64(json, dispute, ".responseSeconds"),
            voidSeconds: _uint64(json, dispute, ".voidSeconds")
        });
        string memory beacon = string.concat(section, ".beacon");
        _expectKeys(json, beacon, 3);
        c.beacon = ISeedCourt.Beacon({
            key: vm.parseJsonBytes(json, string.concat(beacon, ".key")),
            genesis: _uint64(json, beacon, ".genesis"),
            period: _uint64(json, beacon, ".period")
        });
    }

    function _expectKeys(string memory json, string memory section, uint256 expected) private pure {
        uint256 found = vm.parseJsonKeys(json, bytes(section).length == 0 ? "$" : section).length;
        if (found != expected) revert UnknownKeys(section, expected, found);
    }

    function _classId(string memory id) private pure returns (uint16) {
        bytes memory digits = bytes(id);
        uint256 value = 0;
        for (uint256 i = 0; i < digits.length; ++i) {
            uint8 digit = uint8(digits[i]) - 48; // underflow reverts
            value = value * 10 + digit;
            if (digit > 9 || value > type(uint16).max) revert TooLarge(id, value);
        }
        return uint16(value);
    }

    function _uint64(string memory json, string memory section, string memory key) private pure returns (uint64) {
        return uint64(_bounded(json, section, key, type(uint64).max));
    }

    function _uint24(string memory json, string memory section, string memory key) private pure returns (uint24) {
        return uint24(_bounded(json, section, key, type(uint24).max));
    }

    function _bounded(string memory json, string memory section, string memory key, uint256 most) private pure returns (uint256 value) {
        value = _uint(json, section, key);
        if (value > most) revert TooLarge(string.concat(section, key), value);
    }

    function _uint(string memory json, string memory section, string memory key) private pure returns (uint256) {
        return vm.parseJsonUint(json, string.concat(section, key));
    }
}
