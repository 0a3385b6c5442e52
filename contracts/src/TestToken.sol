// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token for devnets and tests: anyone mints any amount
contract TestToken is ERC20("Assay Test Token", "tASSAY") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
