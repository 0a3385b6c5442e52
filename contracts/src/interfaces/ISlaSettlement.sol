// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice One epoch's verdicts, as roots. `digest = keccak256(abi.encode(report))`.
struct Report {
    uint256 chainId;
    address settlement;
    uint64 setEpoch; // the committee set that signed
    uint64 epoch;
    uint64 view_;
    bytes32 parentDigest; // of the last accepted report, zero for the first
    uint64 refBlock; // the signers read the registries as of this block
    uint64 validUntil; // unix seconds: genesis + (epoch + 1 + validEpochs) * epochLength
    uint64 drandRound;
    bool seedSecure; // an insecure epoch pays, it cannot slash
    bytes32 paramsHash;
    bytes32 bitVotesRoot;
    bytes32 obsRoot;
    bytes32 resultRoot;
    bytes32 rewardRoot;
    bytes32 slashRoot;
    uint256 rewardTotal; // the epoch's own, not cumulative
    uint256 slashTotal;
    bytes32 logHeadsRoot;
    bytes32 dataDigest;
}

/// @title Accepts one report per epoch, pays its rewards and executes its slashes
/// @notice Acceptance depends only on the report, its certificate, the last accepted report, the committee sets, the time and
/// fixed values. The
/// chain keeps the leading 224 bits of a digest beside the time of acceptance; everything else comes back as calldata when
/// somebody claims, and is checked against them. All times are unix seconds, all amounts the token's smallest unit.
/// The owner (a timelock) names the courts and the guardian and ends a pause. The guardian acts at once, and can do two things:
/// pause posting, and void a report that has paid nothing yet. Courts are contracts that void what they find proven wrong.
interface ISlaSettlement {
    struct Config {
        address token;
        address oracleRegistry;
        address providerRegistry;
        uint64 genesis;
        uint64 epochLength;
        uint64 validEpochs;
        uint64 rewardWindow; // from acceptance to claims
        uint64 slashWindow; // from acceptance to slashes
        uint256 epochBudget; // most that one report may state as rewardTotal
        uint256 slashCapPpm; // most that one slash takes, of the stake it finds
        bytes32 paramsHash;
    }

    struct Roles {
        address owner;
        address guardian; // zero: nobody
        uint64 escapeDelay; // from the last acceptance to the opening of the exits
    }

    event ReportAccepted(
        uint64 indexed epoch, bytes32 indexed digest, uint64 view_, uint256 signers, uint256 signedWeight, uint256 totalWeight
    );
    event Claimed(uint8 indexed kind, uint64 indexed id, address recipient, uint256 amount, uint256 cumulative);
    event Slashed(uint64 indexed providerId, uint64 indexed epoch, uint8 reason, bytes32 factsRoot, uint256 amount);
    /// The whole answer, so that everybody can judge it: chunks and siblings are as in `rebut`.
    event SlashRebutted(
        uint64 indexed providerId, uint64 indexed epoch, bytes32 challengeDigest, bytes chunks, bytes[] siblings, bytes signature
    );
    event Funded(address indexed from, uint256 amount);
    /// `digest` is the full one of `epoch`'s report. All reports from `epoch` to `lastEpochVoided` are void.
    event ReportVoided(uint64 indexed epoch, bytes32 indexed digest, uint64 lastEpochVoided, address indexed by);
    /// Claims and slashes of reports from `fromEpoch` on wait. The values that hold from now on, other holds included.
    event HoldSet(uint64 indexed fromEpoch, uint64 until, address indexed by);
    event PostingStopped(address indexed by);
    event PostingResumed();
    event GuardianSet(address indexed guardian);
    event CourtSet(address indexed court, bool allowed);
    event RebuttalMarked(uint64 indexed providerId, uint64 indexed epoch, bool isRebutted, address indexed court);

    /// Also: windows of more than 1,024 epochs, epochs under two seconds, an escape within one report's validity.
    error InvalidConfig();

    error WrongChain(uint256 chainId);
    error WrongSettlement(address settlement);
    error WrongParams(bytes32 paramsHash);
    error EpochNotOver(uint256 endsAt);
    error WrongValidUntil(uint256 expected);
    error ReportExpired(uint256 validUntil);
    error PostingPaused();
    error EpochAlreadySettled(uint256 nextEpoch);
    /// This very report was accepted before, and voided.
    error AlreadyVoided(bytes32 digest);
    /// An epoch was skipped whose own report could still arrive.
    error EarlierEpochOpen(uint256 until);
    error WrongParent(bytes32 lastDigest);
    error BudgetExceeded(uint256 rewardTotal, uint256 budget);
    /// Neither the current set, nor the one before it for a report under way at the change.
    error WrongSet(uint64 currentSet);
    /// Not more than two thirds of the weight signed.
    error QuorumNotReached(uint256 signedWeight, uint256 totalWeight);
    error InvalidCertificate();

    error UnknownReport(uint64 epoch);
    error WindowOpen(uint256 until);
    error InvalidProof();
    error NothingToClaim();
    /// All claims together would exceed the budgets of the epochs up to the report's.
    error ClaimsExceedBudgets(uint256 total, uint256 most);
    error InsecureSeed();
    error AlreadySlashed(uint64 providerId, uint64 epoch);

    error OnlyGuardian(address caller);
    error OnlyCourt(address caller);
    error OnlyGuardianOrCourt(address caller);
    /// Too late for this caller to void or hold the report.
    error ReportFinal(uint256 since);
    /// The report of `parentEpoch` is not the voided report's parent.
    error WrongParentEpoch(uint64 parentEpoch);
    /// Not in the future, or beyond the longest hold of this report.
    error InvalidHold(uint64 until, uint256 latest);
    error PostingNotPaused();

    error RebuttalTooLate(uint256 closedAt);
    error AlreadyRebutted(uint64 providerId, uint64 epoch);
    /// Siblings of fewer than 30 samples, or more than 40.
    error WrongSampleCount(uint256 given);
    /// Other than 1,024 bytes for each sample.
    error WrongChunksLength(uint256 given);
    /// A sample's siblings are more than 54, or not of 32 bytes each.
    error WrongSiblingsLength(uint256 sample, uint256 given);
    /// Not 65 bytes, a high s, a wrong v, another key than the provider's receipt key, or another answer than was signed.
    error InvalidAnswerSignature();

    function config() external view returns (Config memory);

    /// @notice Puts reward tokens into the pool. Anyone may; what no report gives away stays for later epochs.
    function fund(uint256 amount) external;

    /// @notice The tokens that claims can draw on.
    function pool() external view returns (uint256);

    /// @notice Accepts an epoch's report. Anyone may send it.
    /// @param signers bit `i` = member `i` of the set `report.setEpoch`.
    /// @param signature 128 bytes in G1: the aggregate over the report's message.
    /// @dev Reverts with the first rule that is broken, in the order of the errors above; then InvalidSigners (see Committee).
    /// `setEpoch` is the current set; or the one before it when `refBlock` lies before the block in which the current set was
    /// completed, and the epoch began less than an epoch's length after that block. So a change of the set voids no report under
    /// way, and the old set, whose word alone `refBlock` is, cannot go on by naming old blocks. Two sets back is too far.
    /// `rewardTotal` is what the certificate states: the contract bounds it, the leaves themselves are the signers' word.
    function submitReport(Report calldata report, uint256 signers, bytes calldata signature) external;

    /// @notice Whether the certificate is that of the report: a quorum of the set `report.setEpoch` signed it. Says nothing about
    /// acceptance, so that two certified reports of one epoch can be held against their signers.
    /// @dev Reverts with UnknownSet of the registry, and with InvalidSigners for a bitmap that names no subset of the set.
    function certified(Report calldata report, uint256 signers, bytes calldata signature) external view returns (bool);

    /// @return any whether a report was accepted yet.
    /// @return epoch of the last one.
    /// @return digest its leading 224 bits, the last four bytes zero. The full digest is in the event ReportAccepted.
    function lastAccepted() external view returns (bool any, uint64 epoch, bytes32 digest);

    /// @notice Zeros when the epoch has no accepted report.
    /// @return digest the leading 224 bits, the last four bytes zero.
    function acceptedReport(uint64 epoch) external view returns (bytes32 digest, uint64 acceptedAt);

    /// @notice 0 the epoch may still get a report, 1 it has one, 2 it was skipped and can have none any more. 2 is for ever; a
    /// void turns 1 into 0 or 2.
    function isSettled(uint64 epoch) external view returns (uint8 state);

    /// @notice When claims and slashes of an accepted report open. Both are the largest number while the report is held.
    /// @dev Reverts with UnknownReport.
    function maturesAt(Report calldata report) external view returns (uint256 rewardsAt, uint256 slashesAt);

    /// @notice Until when claims and slashes of the epoch's report wait; 0 when it has none or nothing holds it.
    function heldUntil(uint64 epoch) external view returns (uint256);

    // ---- guardian and courts

    function guardian() external view returns (address);

    /// @notice Replaces the guardian. The owner only.
    function setGuardian(address guardian_) external;

    function isCourt(address court) external view returns (bool);

    /// @notice Appoints or dismisses a court. The owner only.
    function setCourt(address court, bool allowed) external;

    /// @notice Stops submitReport. The guardian only. Claims, slashes and rebuttals of accepted reports go on; epochs whose
    /// reports expire meanwhile are skipped.
    function pausePosting() external;

    /// @notice Ends the pause. The owner only.
    function resumePosting() external;

    function postingPaused() external view returns (bool);

    /// @notice Takes back an accepted report and all later ones. The last accepted report is again the parent; the epochs may get
    /// other reports while theirs are valid, never the voided one itself. What was paid or slashed meanwhile stays, and counts:
    /// cumulative leaves of later reports pay the difference only, and no provider is slashed twice for one epoch.
    /// The guardian may before acceptedAt + rewardWindow; a court before both windows are over, and while the report is held.
    /// @param parentEpoch the epoch of the report whose digest is `report.parentDigest`; not looked at when that is zero.
    /// @dev Its cost grows with the epochs that are voided: at most validEpochs + 1,025.
    function voidReport(Report calldata report, uint64 parentEpoch) external;

    /// @notice Whether a report with this full digest was voided itself, rather than as a descendant.
    function voided(bytes32 digest) external view returns (bool);

    /// @notice Makes claims and slashes of the epoch's report and of all later reports wait, for cumulative leaves repeat what
    /// earlier ones say. Courts only, as long as they may void the report. Overlapping holds become one, from the first of their
    /// epochs to the last of their times; yet no report waits longer than 14 days (or 1,024 epochs, if less) from its acceptance.
    function hold(uint64 epoch, uint64 until) external;

    // ---- the way out

    /// @notice Whether no report has been accepted, and stood, for `escapeDelay`, counted from genesis, the last such report, or the
    /// last void by a court, whichever is latest: who signed what was voided stays until the review of it is over.
    /// The registries and the market then let everybody leave.
    function escapeOpen() external view returns (bool);

    function escapeDelay() external view returns (uint64);

    // ---- money

    /// @notice Pays what a reward leaf of an accepted report says beyond what was paid before. Anyone may send it; the money
    /// goes to the leaf's recipient. Open from acceptedAt + rewardWindow on. Whatever the leaves say, all that was ever claimed stays
    /// within epochBudget for each epoch up to the report's.
    function claim(Report calldata report, uint8 kind, uint64 id, address recipient, uint256 cumulative, bytes32[] calldata proof) external;

    /// @notice All that was ever paid to this provider (kind 0) or oracle (kind 1).
    function claimed(uint8 kind, uint64 id) external view returns (uint256);

    /// @notice All that was ever paid to all of them.
    function claimedTotal() external view returns (uint256);

    /// @notice Executes a slash leaf of an accepted report, once per provider and epoch, from acceptedAt + slashWindow on.
    /// Burns min(amount, stake * slashCapPpm / 1e6). Anyone may send it. Refused for reason 3 (silence) once it is rebutted.
    function executeSlash(
        Report calldata report,
        uint64 providerId,
        uint8 reason,
        bytes32 factsRoot,
        uint256 amount,
        bytes32[] calldata proof
    ) external;

    function slashExecuted(uint64 providerId, uint64 epoch) external view returns (bool);

    /// @notice Takes back a slash for silence (reason 3): the provider answers, in the open, the very challenge that it is said to
    /// have been silent on. Anyone may send it, before acceptedAt + slashWindow. Slashes for other reasons stay, and so does the
    /// verdict: the epoch's rewards were lost by lateness.
    /// @param challengeDigest the challenge that the slash leaf names: its factsRoot is that of this one silence.
    /// @param amount of the leaf, as `proof` proves it under `report.slashRoot`.
    /// @param chunks 30 to 40 samples of 1,024 bytes, one after the other, as many as the challenge asked for.
    /// @param siblings for each sample its chaining values from the chunk up to the root, 32 bytes each, at most 54.
    /// @param signature by the provider's receipt key, over the answer to this challenge as for every storage answer.
    /// @dev The contract does not hash BLAKE3, so it does not know whether the chunks belong to the replica. It need not: the answer
    /// is public and signed. A wrong one is a fact under the provider's own signature, and whoever sees it in SlashRebutted can prove
    /// it; the oracles slash it as reason 1 (invalid) in a later report. So a false rebuttal trades a slash for a slash.
    /// Lost data cannot be rebutted with "missing" either: every sample has a chunk.
    function rebut(
        Report calldata report,
        uint64 providerId,
        bytes32 challengeDigest,
        uint256 amount,
        bytes32[] calldata proof,
        bytes calldata chunks,
        bytes[] calldata siblings,
        bytes calldata signature
    ) external;

    /// @notice Marks a provider's silence in an epoch as rebutted, or takes that back when the rebuttal turned out to be none. Courts only.
    /// Reverts with AlreadyRebutted for a mark that is there. What was rebutted here by `rebut`, no court has a reason to take back.
    function markRebutted(uint64 providerId, uint64 epoch, bool isRebutted) external;

    /// @notice Whether the provider's silence in this epoch was rebutted.
    function rebutted(uint64 providerId, uint64 epoch) external view returns (bool);
}
