// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {ICourt} from "../interfaces/ICourt.sol";
import {IOracleRegistry} from "../interfaces/IOracleRegistry.sol";
import {ISlaSettlement, Report} from "../interfaces/ISlaSettlement.sol";
import {Committee} from "../libraries/Committee.sol";
import {ReportLib} from "../libraries/ReportLib.sol";
import {StampLib} from "../libraries/Stamp.sol";

/// @title Base of all courts
/// @notice See ICourt for what it promises.
abstract contract Court is ICourt {
    using SafeERC20 for IERC20;
    using ReportLib for Report;

    uint256 internal constant PPM = 1_000_000;
    /// The challenger's share of what is slashed.
    uint256 internal constant REWARD_PPM = 100_000;

    ISlaSettlement internal immutable SETTLEMENT;
    IOracleRegistry internal immutable ORACLES;
    IERC20 internal immutable TOKEN;
    bytes32 private immutable PARAMS_HASH;
    uint256 public immutable slashPpm;

    mapping(bytes32 reportDigest => address) public convicted;
    mapping(address account => uint256) public credit;
    mapping(bytes32 offence => bool) private _punished;

    constructor(ISlaSettlement settlement, uint256 slashPpm_) {
        if (slashPpm_ > PPM) revert InvalidShare(slashPpm_);
        ISlaSettlement.Config memory c = settlement.config();
        SETTLEMENT = settlement;
        ORACLES = IOracleRegistry(c.oracleRegistry);
        TOKEN = IERC20(c.token);
        PARAMS_HASH = c.paramsHash;
        slashPpm = slashPpm_;
    }

    /// @inheritdoc ICourt
    function punished(uint64 oracleId, uint64 epoch, uint8 offence) public view returns (bool) {
        return _punished[_key(oracleId, epoch, offence)];
    }

    /// @inheritdoc ICourt
    function withdraw() external returns (uint256 amount) {
        amount = credit[msg.sender];
        if (amount == 0) revert NothingToWithdraw(msg.sender);
        credit[msg.sender] = 0;
        emit Withdrawn(msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    /// @dev Remembers who proved the report wrong first, and voids it if it stands. One that went with an earlier one, or was never posted,
    /// is convicted all the same: whoever signed it signed what is wrong. Reverts when it stands and can no longer be voided, when it is
    /// convicted and does not stand, and when it is no report of this settlement.
    /// @param parentEpoch of the report that `report.parentDigest` names; of no account when the report does not stand.
    function _convict(Report calldata report, uint64 parentEpoch, address challenger) internal {
        bytes32 digest = report.digest();
        (bytes32 accepted,) = SETTLEMENT.acceptedReport(report.epoch);
        bool stands = accepted != 0 && StampLib.stamp(accepted, 0).matches(digest);
        if (convicted[digest] == address(0)) {
            bool isOurs = report.chainId == block.chainid && report.settlement == address(SETTLEMENT) && report.paramsHash == PARAMS_HASH;
            if (!isOurs) revert NotOfThisSettlement(digest);
            convicted[digest] = challenger;
            emit Convicted(report.epoch, digest, challenger);
        } else if (!stands) {
            revert AlreadyConvicted(digest);
        }
        if (stands) SETTLEMENT.voidReport(report, parentEpoch);
    }

    /// @dev Voids the report for want of data: nobody was proven wrong, so its signers keep their stakes.
    function _void(Report calldata report, uint64 parentEpoch) internal {
        SETTLEMENT.voidReport(report, parentEpoch);
    }

    /// @dev Slashes once for each (oracle, epoch, offence). Who calls for himself is paid at once; for anyone else the reward is kept
    /// here, so that no recipient can stop a punishment by refusing it.
    function _punish(uint64 oracleId, uint64 epoch, uint8 offence, address challenger) internal {
        bytes32 key = _key(oracleId, epoch, offence);
        if (_punished[key]) revert AlreadyPunished(oracleId, epoch, offence);
        _punished[key] = true;

        uint256 amount = Math.mulDiv(ORACLES.stakeOf(oracleId), slashPpm, PPM);
        uint256 reward = amount * REWARD_PPM / PPM;
        bool atOnce = challenger == msg.sender;
        if (!atOnce) credit[challenger] += reward;
        emit Punished(oracleId, epoch, offence, amount, challenger);
        ORACLES.slash(oracleId, amount, atOnce ? challenger : address(this), reward);
    }

    /// @dev Member `index` of a set, with the key that it had in it: a later key does not hide what an earlier one signed.
    function _member(uint64 setEpoch, uint256 index) internal view returns (uint64 oracleId, uint16 weight, bytes memory key) {
        (address header,,) = ORACLES.committeeOf(setEpoch);
        return Committee.member(header, index);
    }

    function _key(uint64 oracleId, uint64 epoch, uint8 offence) private pure returns (bytes32) {
        return keccak256(abi.encode(oracleId, epoch, offence));
    }
}
