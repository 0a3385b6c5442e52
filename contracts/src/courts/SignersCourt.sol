// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {ICourt} from "../interfaces/ICourt.sol";
import {ISignersCourt} from "../interfaces/ISignersCourt.sol";
import {ISlaSettlement, Report} from "../interfaces/ISlaSettlement.sol";
import {ReportLib} from "../libraries/ReportLib.sol";
import {Court} from "./Court.sol";

/// @title Signers of wrong reports
/// @notice See ISignersCourt for what it promises.
contract SignersCourt is Court, Ownable, ISignersCourt {
    using ReportLib for Report;

    uint8 public constant SIGNED_WRONG_REPORT = 1;

    uint64 public immutable reviewSeconds;

    struct Review {
        address challenger;
        uint64 until;
        bool cancelled;
    }

    mapping(bytes32 reportDigest => Review) public review;

    constructor(ISlaSettlement settlement, uint256 slashPpm_, uint64 reviewSeconds_, address owner_)
        Court(settlement, slashPpm_)
        Ownable(owner_)
    {
        reviewSeconds = reviewSeconds_;
    }

    /// @inheritdoc ISignersCourt
    function openReview(Report calldata report, address court) external {
        bytes32 digest = report.digest();
        if (!SETTLEMENT.isCourt(court)) revert NotACourt(court);
        address challenger = ICourt(court).convicted(digest);
        if (challenger == address(0)) revert NotConvicted(digest);
        if (review[digest].challenger != address(0)) revert AlreadyReviewed(digest);
        uint64 until = uint64(block.timestamp) + reviewSeconds;
        review[digest] = Review(challenger, until, false);
        emit ReviewOpened(report.epoch, digest, court, challenger, until);
    }

    /// @inheritdoc ISignersCourt
    function cancelReview(bytes32 reportDigest) external onlyOwner {
        Review storage r = review[reportDigest];
        if (r.challenger == address(0)) revert NotReviewed(reportDigest);
        if (block.timestamp >= r.until) revert ReviewOver(r.until);
        r.cancelled = true;
        emit ReviewCancelled(reportDigest);
    }

    /// @inheritdoc ISignersCourt
    function slashSigners(Report calldata report, uint256 signers, bytes calldata signature, uint256 most)
        external
        returns (uint256 slashed)
    {
        bytes32 digest = report.digest();
        Review memory r = review[digest];
        if (r.challenger == address(0)) revert NotReviewed(digest);
        if (r.cancelled) revert Cancelled(digest);
        if (block.timestamp < r.until) revert ReviewRuns(r.until);
        if (!SETTLEMENT.certified(report, signers, signature)) revert InvalidCertificate();

        for (uint256 index = 0; signers != 0 && slashed < most; ++index) {
            if (signers & 1 == 1) {
                (uint64 oracleId,,) = _member(report.setEpoch, index);
                if (!punished(oracleId, report.epoch, SIGNED_WRONG_REPORT)) {
                    _punish(oracleId, report.epoch, SIGNED_WRONG_REPORT, r.challenger);
                    ++slashed;
                }
            }
            signers >>= 1;
        }
    }
}
