// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title Takes tokens in, exactly as many as are credited
library Deposit {
    using SafeERC20 for IERC20;

    /// The token kept a part on the way, or moved other tokens of this contract meanwhile.
    error DepositDiffers(uint256 credited, uint256 received);

    function take(IERC20 token, address from, uint256 amount) internal {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(from, address(this), amount);
        uint256 present = token.balanceOf(address(this));
        if (present != before + amount) revert DepositDiffers(amount, present > before ? present - before : 0);
    }
}
