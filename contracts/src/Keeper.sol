// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IKeeper} from "./interfaces/IKeeper.sol";
import {ISlaSettlement, Report} from "./interfaces/ISlaSettlement.sol";

/// @title Keeper
/// @notice See IKeeper for what it promises.
contract Keeper is IKeeper, Ownable2Step, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    ISlaSettlement public immutable settlement;
    IERC20 public immutable token;

    mapping(Action action => Tariff) private _tariffs;

    constructor(ISlaSettlement settlement_, address owner_) Ownable(owner_) {
        settlement = settlement_;
        token = IERC20(settlement_.config().token);
    }

    /// @inheritdoc IKeeper
    function tariff(Action action) external view returns (Tariff memory) {
        return _today(action);
    }

    /// @inheritdoc IKeeper
    function setTariff(Action action, uint128 tip, uint32 perDay) external onlyOwner {
        Tariff storage kept = _tariffs[action];
        (kept.tip, kept.perDay) = (tip, perDay);
        emit TariffSet(action, tip, perDay);
    }

    /// @inheritdoc IKeeper
    function withdraw(address to, uint256 amount) external onlyOwner nonReentrant {
        emit Withdrawn(to, amount);
        token.safeTransfer(to, amount);
    }

    /// @inheritdoc IKeeper
    function submitReport(Report calldata report, uint256 signers, bytes calldata signature) external nonReentrant returns (uint256 tip) {
        settlement.submitReport(report, signers, signature);
        return _tip(Action.Report, 1);
    }

    /// @inheritdoc IKeeper
    function claimMany(Report calldata report, RewardClaim[] calldata claims) external nonReentrant returns (uint256 done, uint256 tip) {
        uint256 least = _tariffs[Action.Claim].tip;
        uint256 worthwhile;
        for (uint256 i = 0; i < claims.length; ++i) {
            RewardClaim calldata c = claims[i];
            uint256 before = settlement.claimed(c.kind, c.id);
            try settlement.claim(report, c.kind, c.id, c.recipient, c.cumulative, c.proof) {
                ++done;
                if (c.cumulative - before >= least) ++worthwhile;
            } catch (bytes memory reason) {
                emit Skipped(Action.Claim, i, reason);
            }
        }
        if (done == 0) revert NothingDone();
        tip = _tip(Action.Claim, worthwhile);
    }

    /// @inheritdoc IKeeper
    function slashMany(Report calldata report, DueSlash[] calldata slashes) external nonReentrant returns (uint256 done, uint256 tip) {
        for (uint256 i = 0; i < slashes.length; ++i) {
            DueSlash calldata s = slashes[i];
            try settlement.executeSlash(report, s.providerId, s.reason, s.factsRoot, s.amount, s.proof) {
                ++done;
            } catch (bytes memory reason) {
                emit Skipped(Action.Slash, i, reason);
            }
        }
        if (done == 0) revert NothingDone();
        tip = _tip(Action.Slash, done);
    }

    /// Pays the sender for what it did, as far as the day's tips and the balance reach: whole tips only.
    function _tip(Action action, uint256 count) private returns (uint256 amount) {
        Tariff memory current = _today(action);
        if (current.tip == 0) return 0;
        uint256 left = current.perDay > current.used ? current.perDay - current.used : 0;
        count = Math.min(Math.min(count, left), token.balanceOf(address(this)) / current.tip);
        if (count == 0) return 0;
        current.used += uint32(count); // count <= left
        _tariffs[action] = current;
        amount = count * current.tip;
        emit Tipped(action, msg.sender, count, amount);
        token.safeTransfer(msg.sender, amount);
    }

    function _today(Action action) private view returns (Tariff memory current) {
        current = _tariffs[action];
        uint32 day = uint32(block.timestamp / 1 days);
        if (current.day != day) (current.day, current.used) = (day, 0);
    }
}
