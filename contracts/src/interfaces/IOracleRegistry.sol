// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Committee} from "../libraries/Committee.sol";

/// @title Who the oracles are, what they staked, and which of them form the committee
/// @notice An oracle's id counts from 1 in order of registration and is never used twice. A committee set is an immutable
/// snapshot of the registry; reports are judged by the set that was current at their reference block: the
/// current one, or for reports under way at a change the one before it (see ISlaSettlement). Stakes are in the token's smallest unit.
interface IOracleRegistry {
    struct Oracle {
        address operator; // the cold owner
        address transmitter; // sends transactions, holds gas only
        address recipient; // is paid
        uint64 networkGroup; // declared; panels take at most two oracles of one group
        bool active;
        uint256 stake;
        string endpoint;
        bytes blsKey; // 256 bytes, padded form of EIP-2537
    }

    event OracleRegistered(uint64 indexed oracleId, address indexed operator, string endpoint);
    event SnapshotBuilt(uint64 indexed setEpoch, uint256 members, uint256 totalWeight);

    error ZeroAddress();
    error InvalidEndpoint();
    /// The key is not 256 bytes or the proof not 128.
    error InvalidLength();
    error StakeTooLow(uint256 stake, uint256 minimum);
    error DuplicateKey();
    /// The proof does not verify: wrong message, infinity, a point off the curve or outside its subgroup.
    error InvalidProofOfPossession();
    /// 256 oracles, as many as a signer bitmap has bits.
    error RegistryFull();
    error UnknownOracle(uint64 oracleId);
    error UnknownSet(uint64 setEpoch);
    error NoOracles();
    /// The current set already holds every registered oracle.
    error SetIsCurrent();
    /// The next set may not begin before this time (unix seconds).
    error SetTooSoon(uint256 notBefore);
    error NothingRequested();

    /// @notice Registers the sender as an oracle and takes its stake (approve it first).
    /// @dev Takes effect in committee sets begun afterwards. The proof of possession is checked here, on chain, which also
    /// keeps points outside the subgroup out of every aggregate.
    /// @param blsKey 256 bytes in G2. Refused if anybody registered it before.
    /// @param pop 128 bytes in G1: the key's signature over `popMessage`.
    function register(
        bytes calldata blsKey,
        bytes calldata pop,
        string calldata endpoint,
        address transmitter,
        address recipient,
        uint64 networkGroup,
        uint256 stake
    ) external returns (uint64 oracleId);

    /// @notice What a proof of possession signs: bound to this chain, this registry and the operator.
    function popMessage(address operator, bytes calldata blsKey) external view returns (bytes32);

    function oracleCount() external view returns (uint64);

    /// @dev Reverts with UnknownOracle.
    function oracle(uint64 oracleId) external view returns (Oracle memory);

    /// @notice Builds the next committee set, or the next part of it. Anyone may call, until it returns true.
    /// @dev Membership and the largest stake are frozen by the first call; who registers later is in the set after. Works in
    /// whole chunks of 96 members: stops after the first chunk with which `maxMembers` is reached. A chunk of 96 costs about
    /// 5M gas. A set may begin only when somebody registered since the last one, and not before `minSetSeconds` after it:
    /// else anyone could renew the set for ever and so invalidate every report under way.
    /// Members stand in ascending id, weight = max(1, stake * 65535 / largest stake).
    /// @return complete whether the set is now the current one.
    function buildSnapshot(uint256 maxMembers) external returns (bool complete);

    /// @notice 0 when there is none yet; the first set is 1.
    function currentSet() external view returns (uint64 setEpoch);

    /// @notice The current set and where its header lies (see the library Committee). Zeros when there is none.
    function currentCommittee() external view returns (uint64 setEpoch, address header);

    /// @notice Any set's header, and since when the set is the current one: the block in which it was completed and that block's
    /// time (unix seconds). State read at that block or later shows this set or a later one, state read before it an earlier one.
    /// @dev Reverts with UnknownSet. `sinceBlock` is the EVM's `block.number`; where that is not the height that nodes read
    /// blocks by (some rollups), reports under way at a change are judged wrongly.
    function committeeOf(uint64 setEpoch) external view returns (address header, uint48 sinceBlock, uint48 since);

    /// @dev Reverts with UnknownSet.
    function committee(uint64 setEpoch) external view returns (Committee.Member[] memory);
}
