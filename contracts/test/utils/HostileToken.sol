// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// Whom a HostileToken calls in the middle of a transfer.
interface IHook {
    function onTransfer() external;
}

/// A token that keeps a fee, or calls whom it was told to on every transfer.
contract HostileToken is ERC20("Hostile", "HOST") {
    uint256 public fee;
    IHook public hook;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function setFee(uint256 fee_) external {
        fee = fee_;
    }

    function setHook(IHook hook_) external {
        hook = hook_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from == address(0)) return;
        if (fee != 0 && to != address(0)) super._update(to, address(0), fee);
        if (address(hook) != address(0)) hook.onTransfer();
    }
}
