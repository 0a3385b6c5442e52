// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Stakes of many behind one provider: shares of a pool that a slash makes smaller
/// @notice Every rounding is in favour of the pool, that is of those who stay; who leaves last takes all that is left. Only what was
/// put in counts, so nobody can raise the price of a share by giving tokens away.
library SharePool {
    struct Pool {
        uint256 assets;
        uint256 shares;
        uint256 leaving; // of `shares`: unbonding, still slashable
    }

    /// @notice Shares for `amount`, none when it is worth less than one, or when the pool lost everything while shares remain.
    function deposit(Pool storage self, uint256 amount) internal returns (uint256 minted) {
        (uint256 assets, uint256 shares) = (self.assets, self.shares);
        if (shares == 0) minted = amount;
        else if (assets != 0) minted = Math.mulDiv(amount, shares, assets);
        self.assets = assets + amount;
        self.shares = shares + minted;
    }

    /// @notice Redeems shares that were leaving.
    function redeem(Pool storage self, uint256 shares) internal returns (uint256 amount) {
        amount = Math.mulDiv(self.assets, shares, self.shares);
        self.assets -= amount;
        self.shares -= shares;
        self.leaving -= shares;
    }

    /// @notice What those who are not leaving have staked.
    function staying(Pool storage self) internal view returns (uint256) {
        if (self.leaving == 0) return self.assets;
        return Math.mulDiv(self.assets, self.shares - self.leaving, self.shares);
    }
}
