// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Committee} from "../libraries/Committee.sol";

/// @title Who the oracles are, what they staked, and which of them form the committee
/// @notice An oracle's id counts from 1 in order of registration and is never used twice. The active oracles, at most 256, are the
/// members of the next set: who exits, or is slashed below the minimum, is active no more. A committee set is an immutable
/// snapshot of the registry; reports are judged by the set that was current at their reference block: the
/// current one, or for reports under way at a change the one before it (see ISlaSettlement). Stakes are in the token's smallest unit.
interface IOracleRegistry {
    struct Oracle {
        address operator; // the cold owner
        address transmitter; // sends transactions, holds gas only
        address recipient; // is paid
        uint64 networkGroup; // declared; panels take at most two oracles of one group
        bool active; // is in the next set
        uint256 stake;
        string endpoint;
        bytes blsKey; // 256 bytes, padded form of EIP-2537; the one of the next set
    }

    /// Fixed for ever.
    struct Terms {
        uint64 unbondingSeconds; // from the first set without an oracle to its withdrawal
        uint64 evidenceSeconds; // how long after every window courts may still slash: at least as long as they may hold a report
        uint64 rollCallSeconds; // from the first `alive` to `recover`
        uint32 operatorCapPpm; // most of the weight that one operator's oracles have together; 1,000,000 = any
    }

    /// Who answers when no report comes. The weight that answered is weighed against the whole of set `setEpoch`.
    struct RollCall {
        uint64 number;
        uint64 setEpoch;
        uint64 closesAt; // unix seconds
        uint32 weight;
    }

    event OracleRegistered(uint64 indexed oracleId, address indexed operator, string endpoint);
    event SnapshotBuilt(uint64 indexed setEpoch, uint256 members, uint256 totalWeight);
    event KeyRotated(uint64 indexed oracleId, bytes32 keyHash);
    event EndpointSet(uint64 indexed oracleId, string endpoint);
    event TransmitterSet(uint64 indexed oracleId, address transmitter);
    event RecipientSet(uint64 indexed oracleId, address recipient);
    event LogKeySet(uint64 indexed oracleId, bytes32 key);
    event StakeAdded(uint64 indexed oracleId, uint256 amount);
    event Activated(uint64 indexed oracleId);
    event Deactivated(uint64 indexed oracleId);
    /// `withoutSet` is the set whose completion starts the unbonding; 0: it starts now.
    event ExitRequested(uint64 indexed oracleId, uint64 withoutSet);
    event Withdrawn(uint64 indexed oracleId, uint256 amount);
    event OracleSlashed(uint64 indexed oracleId, address indexed court, uint256 amount, address beneficiary, uint256 reward);
    event SettlementSet(address indexed settlement);
    event Alive(uint64 indexed oracleId, uint64 indexed rollCall, uint256 weight);
    event Recovered(uint64 indexed rollCall, uint256 members);

    error ZeroAddress();
    error InvalidEndpoint();
    /// The key is not 256 bytes or the proof not 128.
    error InvalidLength();
    error StakeTooLow(uint256 stake, uint256 minimum);
    error DuplicateKey();
    /// The proof does not verify: wrong message, infinity, a point off the curve or outside its subgroup.
    error InvalidProofOfPossession();
    /// 256 active oracles, as many as a signer bitmap has bits.
    error RegistryFull();
    error UnknownOracle(uint64 oracleId);
    error UnknownSet(uint64 setEpoch);
    error NoOracles();
    /// Nothing changed since the last set was begun.
    error SetIsCurrent();
    /// The next set may not begin before this time (unix seconds).
    error SetTooSoon(uint256 notBefore);
    error NothingRequested();
    error InvalidTerms();
    error OnlyOperator(uint64 oracleId);
    error AlreadyActive(uint64 oracleId);
    error AlreadyExiting(uint64 oracleId);
    error NotExiting(uint64 oracleId);
    error AlreadyWithdrawn(uint64 oracleId);
    /// The largest time there is: the set that the exit waits for is not complete.
    error StillBonded(uint256 until);
    error OnlyCourt();
    error RewardExceedsSlash(uint256 reward, uint256 amount);
    error SettlementAlreadySet();
    error UnbondingTooShort(uint256 unbondingSeconds, uint256 least);
    error EscapeClosed();
    error AlreadyAnswered(uint64 oracleId);
    /// Not in the set that is called, or not active any more.
    error NotAMember(uint64 oracleId);
    /// A roll call ended with a majority: `recover` first.
    error RecoveryDue();
    error RollCallOpen(uint256 until);
    error NoMajority(uint256 weight);
    error SetUnderConstruction();

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

    /// @notice The highest id. Ids of those who left are counted too.
    function oracleCount() external view returns (uint64);

    /// @notice How many are in the next set.
    function activeCount() external view returns (uint64);

    /// @notice Replaces the verdict key from the next set on; earlier sets keep the old one. Operator only; not when exiting.
    /// @dev As in `register`: proof of possession, and a key that nobody ever registered.
    function rotateKey(uint64 oracleId, bytes calldata blsKey, bytes calldata pop) external;

    /// @notice These take effect at once. Operator only. An endpoint is 1 to 255 bytes, addresses are not zero.
    function setEndpoint(uint64 oracleId, string calldata endpoint) external;
    function setTransmitter(uint64 oracleId, address transmitter) external;
    function setRecipient(uint64 oracleId, address recipient) external;

    /// @notice The Ed25519 key that signs the oracle's log; zero when it keeps none. Operator only.
    function setLogKey(uint64 oracleId, bytes32 key) external;
    function logKeyOf(uint64 oracleId) external view returns (bytes32);

    /// @notice Takes more stake from the operator, who alone may call. It weighs from the next set on.
    function addStake(uint64 oracleId, uint256 amount) external;

    /// @notice Brings an oracle back into the next set that a slash or a roll call took out of it. Operator only; its stake must be
    /// the minimum again.
    function rejoin(uint64 oracleId) external;

    /// @notice Leaves, for ever: the oracle is not in the next set. Operator only.
    /// @dev It stays in the current set, answers for what it signs there, and does its work, until a set without it is complete.
    /// Anyone may build that one. The unbonding starts then; at once for who was never in a set.
    function requestExit(uint64 oracleId) external;

    /// @notice Pays what is left of the stake to the operator, who alone may call, once: from `withdrawableAt` on, or as soon as the
    /// settlement's escape is open.
    function withdraw(uint64 oracleId) external;

    /// @notice Unix seconds; the largest number while it is not known.
    function withdrawableAt(uint64 oracleId) external view returns (uint256);

    function unbondingSeconds() external view returns (uint64);
    function evidenceSeconds() external view returns (uint64);
    function rollCallSeconds() external view returns (uint64);
    function operatorCapPpm() external view returns (uint32);

    /// @notice Takes `min(amount, stake)` of an oracle's stake, exiting or not. Courts only (the settlement knows them).
    /// @param reward of the amount, for the beneficiary. When less than the amount is left, the reward shrinks in proportion. The
    /// rest is burned: it goes to 0x...dEaD.
    /// @return slashed what was taken, reward and all. An oracle whose stake falls below the minimum is not in the next set.
    function slash(uint64 oracleId, uint256 amount, address beneficiary, uint256 reward) external returns (uint256 slashed);

    /// @notice Zero for an unknown oracle.
    function stakeOf(uint64 oracleId) external view returns (uint256);

    /// @notice The key of the next set, 256 bytes. Those of earlier sets: `committee`.
    /// @dev Reverts with UnknownOracle.
    function keyOf(uint64 oracleId) external view returns (bytes memory);

    /// @notice Names the settlement, whose courts slash and whose escape opens exits. Owner, once.
    /// @dev The unbonding must outlast everything that a member of an old set may still sign (see the library Liability) and then
    /// `evidenceSeconds`.
    function setSettlement(address settlement) external;
    function settlement() external view returns (address);

    /// @notice Answers the roll call, and opens it when none is open. For an oracle's operator or transmitter, while the settlement's
    /// escape is open; the oracle must be active and in the set that was current when the roll call opened.
    function alive(uint64 oracleId) external;

    /// @notice Takes everybody out of the next set who did not answer the roll call. Anyone, after it closed, when more than half of
    /// the called set's weight answered and the escape is still open. Then the next set can be built as always; who was taken out,
    /// or registered meanwhile, may `rejoin`.
    function recover() external;

    /// @notice The last roll call. Zeros when there was none.
    function rollCall() external view returns (RollCall memory);

    /// @dev Reverts with UnknownOracle.
    function oracle(uint64 oracleId) external view returns (Oracle memory);

    /// @notice Builds the next committee set, or the next part of it. Anyone may call, until it returns true.
    /// @dev Members, keys and weights are frozen by the first call; what happens later is in the set after. Works in
    /// whole chunks of 96 members: stops after the first chunk with which `maxMembers` is reached. A chunk of 96 costs about
    /// 5M gas, the first call for 256 members 3M more. A set may begin only when somebody registered, left, rotated a key, or a stake
    /// changed since the last one began, and not before `minSetSeconds` after it: else anyone could renew the set for ever and so
    /// invalidate every report under way.
    /// Members stand in ascending id, weight = max(1, counted * 65535 / largest counted). What counts is the stake; the oracles of
    /// an operator who has more than `operatorCapPpm` of all that counts are scaled down together, until he has no more than that.
    /// With too few operators for that, all count alike.
    /// @return complete whether the set is now the current one.
    function buildSnapshot(uint256 maxMembers) external returns (bool complete);

    /// @notice Seconds between the completion of one set and the beginning of the next.
    function minSetSeconds() external view returns (uint64);

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
