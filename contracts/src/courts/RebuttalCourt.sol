// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {IProviderRegistry} from "../interfaces/IProviderRegistry.sol";
import {IRebuttalCourt} from "../interfaces/IRebuttalCourt.sol";
import {ISlaSettlement, Report} from "../interfaces/ISlaSettlement.sol";
import {Bls12381} from "../libraries/Bls12381.sol";
import {CompactProof} from "../libraries/CompactProof.sol";
import {Deposit} from "../libraries/Deposit.sol";
import {ReportLib} from "../libraries/ReportLib.sol";
import {StampLib} from "../libraries/Stamp.sol";
import {StorageAnswer} from "../libraries/StorageAnswer.sol";
import {Court} from "./Court.sol";

/// @title Rebuttal by compact proof
/// @notice See IRebuttalCourt for what it promises.
contract RebuttalCourt is Court, IRebuttalCourt {
    using ReportLib for Report;

    uint8 private constant STORAGE_SILENT = 3;
    uint8 private constant COMPACT = 1; // the form of the payload

    IProviderRegistry private immutable PROVIDERS;
    uint64 private immutable SLASH_WINDOW;
    uint256 public immutable bond;
    uint64 public immutable contestSeconds;

    struct Posted {
        address poster;
        uint64 until;
    }

    mapping(bytes32 id => Posted) public posted;

    constructor(ISlaSettlement settlement, uint256 bond_, uint64 contestSeconds_) Court(settlement, 0) {
        if (bond_ == 0 || contestSeconds_ == 0) revert InvalidTerms();
        ISlaSettlement.Config memory c = settlement.config();
        PROVIDERS = IProviderRegistry(c.providerRegistry);
        SLASH_WINDOW = c.slashWindow;
        bond = bond_;
        contestSeconds = contestSeconds_;
    }

    /// @inheritdoc IRebuttalCourt
    function rebut(Report calldata report, Silence calldata silence, Answer calldata answer) external {
        _check(report, silence, answer, true);
        if (!CompactProof.verifyChallenge(answer.key, answer.items, answer.seed, answer.proof)) revert InvalidAnswer();
        SETTLEMENT.markRebutted(silence.providerId, report.epoch, true);
    }

    /// @inheritdoc IRebuttalCourt
    function post(Report calldata report, Silence calldata silence, Answer calldata answer) external returns (bytes32 id) {
        _check(report, silence, answer, false);
        id = _id(silence.providerId, report.epoch, answer);
        posted[id] = Posted(msg.sender, uint64(block.timestamp) + contestSeconds);
        SETTLEMENT.markRebutted(silence.providerId, report.epoch, true); // refuses a second one, so no posting is overwritten
        Deposit.take(TOKEN, msg.sender, bond);
    }

    /// @inheritdoc IRebuttalCourt
    function contest(uint64 providerId, uint64 epoch, Answer calldata answer) external {
        bytes32 id = _id(providerId, epoch, answer);
        uint64 until = _posted(id).until;
        if (block.timestamp > until) revert ContestOver(until);
        if (CompactProof.verifyChallenge(answer.key, answer.items, answer.seed, answer.proof)) revert AnswerHolds();
        delete posted[id];
        credit[msg.sender] += bond;
        emit Contested(id, msg.sender);
        SETTLEMENT.markRebutted(providerId, epoch, false);
    }

    /// @inheritdoc IRebuttalCourt
    function release(bytes32 id) external {
        Posted memory p = _posted(id);
        if (block.timestamp <= p.until) revert ContestRuns(p.until);
        delete posted[id];
        credit[p.poster] += bond;
        emit Released(id, p.poster);
    }

    /// A silence of this very report that can still be rebutted, and an answer that the provider signed.
    function _check(Report calldata report, Silence calldata silence, Answer calldata answer, bool verified) private {
        (uint64 providerId, uint64 epoch) = (silence.providerId, report.epoch);
        (bytes32 accepted, uint64 acceptedAt) = SETTLEMENT.acceptedReport(epoch);
        if (acceptedAt == 0 || accepted != StampLib.stamp(report.digest(), 0).digest()) revert UnknownReport(epoch);
        uint256 closesAt = uint256(acceptedAt) + SLASH_WINDOW;
        if (block.timestamp >= closesAt) revert RebuttalTooLate(closesAt);
        bytes32 factsRoot = StorageAnswer.silenceRoot(answer.challengeDigest);
        bytes32 leaf = ReportLib.slashLeaf(providerId, epoch, STORAGE_SILENT, factsRoot, silence.amount);
        if (!MerkleProof.verifyCalldata(silence.proof, report.slashRoot, leaf)) revert InvalidProof();

        bytes memory payload = _payload(answer);
        bytes32 answerDigest = keccak256(abi.encode(keccak256(payload))); // no samples besides: the payload covers all
        bytes32 message = keccak256(
            abi.encode(StorageAnswer.ANSWER_TAG, block.chainid, address(SETTLEMENT), providerId, answer.challengeDigest, answerDigest)
        );
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(message, answer.signature);
        bool isReceiptKey = signer == PROVIDERS.receiptKeyOf(providerId);
        if (failure != ECDSA.RecoverError.NoError || !isReceiptKey) revert InvalidAnswerSignature();
        emit CompactAnswer(providerId, epoch, answer.challengeDigest, payload, answer.signature, verified);
    }

    /// The payload of a storage answer whose samples are all under one key, and none missing.
    function _payload(Answer calldata answer) private pure returns (bytes memory) {
        uint256 count = answer.items.length;
        if (count < StorageAnswer.MIN_SAMPLES || count > StorageAnswer.MAX_SAMPLES) revert WrongSampleCount(count);
        (uint64 missing, uint64 positions) = (0, uint64((1 << count) - 1));
        CompactProof.Proof calldata proof = answer.proof;
        bytes memory points = bytes.concat(Bls12381.compressG1(proof.sigma), Bls12381.compressG1(proof.psi));
        return abi.encodePacked(COMPACT, missing, CompactProof.tagKeyId(answer.key), positions, points, proof.y);
    }

    function _id(uint64 providerId, uint64 epoch, Answer calldata answer) private pure returns (bytes32) {
        return keccak256(abi.encode(providerId, epoch, answer));
    }

    function _posted(bytes32 id) private view returns (Posted memory p) {
        p = posted[id];
        if (p.poster == address(0)) revert NotPosted(id);
    }
}
