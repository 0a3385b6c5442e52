// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Report} from "./ISlaSettlement.sol";

/// @notice What a report says about one provider: a leaf of its `resultRoot`, in the order in which it is hashed.
struct Verdict {
    uint64 providerId;
    uint64 epoch;
    uint8 outcome; // 1 pass, 2 insufficient, 3 inconclusive, 4 degraded, 5 fail
    uint32 multiplierPpm; // of the full reward
    uint256 reward; // the epoch's own, in the token's smallest unit
    uint256 slash;
    bytes32 dimensions; // hash of the figures per dimension
}

/// @title What other contracts read
/// @notice A verdict is worth acting on once it is matured: until then it can be disputed and voided.
interface ISlaOracle {
    event VerdictRecorded(uint64 indexed providerId, uint64 indexed epoch, uint8 outcome, uint32 multiplierPpm);

    /// The leaf is not under the report's `resultRoot`, or speaks of another epoch.
    error InvalidProof();
    error NotMatured(uint64 providerId, uint64 epoch);

    /// @notice What an accepted report says about a provider.
    /// @param report the whole report, as in the transaction that posted it.
    /// @param proof of the verdict's leaf, in the form of OpenZeppelin's StandardMerkleTree.
    /// @return outcome as in Verdict.
    /// @return multiplierPpm as in Verdict.
    /// @return matured whether acceptedAt + rewardWindow is over and nothing holds the report.
    /// @dev Reverts with UnknownReport (never accepted, or voided) or InvalidProof.
    function verdict(Report calldata report, Verdict calldata v, bytes32[] calldata proof)
        external
        view
        returns (uint8 outcome, uint32 multiplierPpm, bool matured);

    /// @notice The last accepted report.
    /// @return any false while there is none.
    /// @return epoch its own.
    /// @return digest its leading 224 bits, the last four bytes zero.
    /// @return acceptedAt unix seconds.
    function latest() external view returns (bool any, uint64 epoch, bytes32 digest, uint64 acceptedAt);

    /// @notice Seconds since the end of the last accepted epoch; since genesis when there is none, 0 before genesis.
    function staleness() external view returns (uint256 secondsSince);

    /// @notice Keeps a matured verdict, so that it can be read without a proof. Anyone may call, again and again.
    /// @dev Reverts as `verdict` does, and with NotMatured.
    function record(Report calldata report, Verdict calldata v, bytes32[] calldata proof) external;

    /// @notice A recorded verdict.
    /// @return known false when nothing was recorded, when the report was voided since, and while it is held.
    /// @return outcome as in Verdict.
    /// @return multiplierPpm as in Verdict.
    function recorded(uint64 providerId, uint64 epoch) external view returns (bool known, uint8 outcome, uint32 multiplierPpm);
}
