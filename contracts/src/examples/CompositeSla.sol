// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";

import {ISlaOracle} from "../interfaces/ISlaOracle.sol";
import {Deposit} from "../libraries/Deposit.sol";
import {SlaVerdicts} from "../libraries/SlaVerdicts.sol";

/// @title One promise over several providers
/// @notice An insurer covers a group of up to sixteen providers: an epoch's score is the sum of their multipliers by weight, and an
/// epoch below the threshold pays the holder a fixed amount. A provider without a recorded verdict counts in full, so that what is
/// known can only lower a score: who is owed a payout records the verdicts that speak for it (ISlaOracle.record).
contract CompositeSla {
    using SafeERC20 for IERC20;
    using Deposit for IERC20;
    using SlaVerdicts for ISlaOracle;
    using BitMaps for BitMaps.BitMap;

    uint256 internal constant PPM = 1_000_000;
    uint256 internal constant MAX_MEMBERS = 16;

    struct Member {
        uint64 providerId;
        uint32 weightPpm;
    }

    struct Terms {
        address holder;
        uint64 firstEpoch;
        uint64 lastEpoch;
        uint32 thresholdPpm; // a score below it pays
        uint256 payout; // for each such epoch
        uint64 closesAt; // unix seconds; the insurer takes back the rest from then on
    }

    struct Policy {
        Terms terms;
        address insurer;
        uint256 funds;
        Member[] members;
        BitMaps.BitMap paid;
    }

    event Written(uint256 indexed policyId, address indexed insurer, address indexed holder, uint256 funds);
    event PaidOut(uint256 indexed policyId, uint64 indexed epoch, uint256 scorePpm, uint256 amount);
    event Closed(uint256 indexed policyId, uint256 rest);

    error InvalidTerms();
    /// None, or more than sixteen, or not ascending by id.
    error InvalidMembers();
    error WeightsMustSumToOne(uint256 sumPpm);
    error NotCovered(uint256 policyId, uint64 epoch);
    error AlreadyPaid(uint256 policyId, uint64 epoch);
    error ScoreTooGood(uint256 scorePpm, uint256 thresholdPpm);
    error StillOpen(uint256 closesAt);
    error NothingLeft(uint256 policyId);

    IERC20 public immutable token;
    ISlaOracle public immutable oracle;

    uint256 public policyCount;
    mapping(uint256 policyId => Policy) private _policies;

    constructor(IERC20 token_, ISlaOracle oracle_) {
        token = token_;
        oracle = oracle_;
    }

    /// @notice Covers a group. The sender deposits the payouts of all its epochs (approve them first), so that every one can be paid.
    /// @param members ascending by provider; their weights add up to a million.
    function write(Terms calldata terms, Member[] calldata members) external returns (uint256 policyId) {
        if (terms.holder == address(0) || terms.payout == 0 || terms.lastEpoch < terms.firstEpoch) revert InvalidTerms();
        if (members.length == 0 || members.length > MAX_MEMBERS) revert InvalidMembers();
        policyId = ++policyCount;
        Policy storage p = _policies[policyId];
        uint256 sum;
        for (uint256 i = 0; i < members.length; ++i) {
            if (i > 0 && members[i].providerId <= members[i - 1].providerId) revert InvalidMembers();
            sum += members[i].weightPpm;
            p.members.push(members[i]);
        }
        if (sum != PPM) revert WeightsMustSumToOne(sum);
        p.terms = terms;
        p.insurer = msg.sender;
        p.funds = terms.payout * (uint256(terms.lastEpoch - terms.firstEpoch) + 1);
        emit Written(policyId, msg.sender, terms.holder, p.funds);
        token.take(msg.sender, p.funds);
    }

    /// @notice Pays the holder for an epoch below the threshold, once. Anyone.
    function payOut(uint256 policyId, uint64 epoch) external {
        Policy storage p = _policies[policyId];
        Terms memory terms = p.terms;
        if (terms.holder == address(0) || epoch < terms.firstEpoch || epoch > terms.lastEpoch) revert NotCovered(policyId, epoch);
        if (p.paid.get(epoch)) revert AlreadyPaid(policyId, epoch);
        uint256 scorePpm = score(policyId, epoch);
        if (scorePpm >= terms.thresholdPpm) revert ScoreTooGood(scorePpm, terms.thresholdPpm);
        if (p.funds == 0) revert NothingLeft(policyId);

        p.paid.set(epoch);
        p.funds -= terms.payout;
        emit PaidOut(policyId, epoch, scorePpm, terms.payout);
        token.safeTransfer(terms.holder, terms.payout);
    }

    /// @notice Returns what was not paid out to the insurer, once the policy is closed. Anyone.
    function close(uint256 policyId) external {
        Policy storage p = _policies[policyId];
        if (block.timestamp < p.terms.closesAt) revert StillOpen(p.terms.closesAt);
        uint256 rest = p.funds;
        if (rest == 0) revert NothingLeft(policyId);
        p.funds = 0;
        emit Closed(policyId, rest);
        token.safeTransfer(p.insurer, rest);
    }

    /// @notice An epoch's score by the verdicts recorded so far, rounded down.
    function score(uint256 policyId, uint64 epoch) public view returns (uint256 scorePpm) {
        Member[] storage members = _policies[policyId].members;
        uint256 sum;
        for (uint256 i = 0; i < members.length; ++i) {
            Member memory m = members[i];
            (bool known,, uint256 multiplierPpm) = oracle.recordedOf(m.providerId, epoch);
            sum += m.weightPpm * (known ? multiplierPpm : PPM);
        }
        scorePpm = sum / PPM;
    }

    function policy(uint256 policyId) external view returns (Terms memory terms, address insurer, uint256 funds, Member[] memory members) {
        Policy storage p = _policies[policyId];
        return (p.terms, p.insurer, p.funds, p.members);
    }
}
