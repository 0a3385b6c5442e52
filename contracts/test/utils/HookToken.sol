// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestToken} from "../../src/TestToken.sol";

interface ITokenReceiver {
    function onTokens() external;
}

/// Calls the receiver, as tokens with hooks do.
contract HookToken is TestToken {
    address private _receiver;

    function callOnReceipt(address receiver) external {
        _receiver = receiver;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (to == _receiver && to != address(0)) ITokenReceiver(to).onTokens();
    }
}
