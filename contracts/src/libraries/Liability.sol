// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {ISlaSettlement} from "../interfaces/ISlaSettlement.sol";

/// @title How long a stake answers for what was done before its owner left
library Liability {
    /// @notice Seconds from a change of a registry until every report that was made without knowing of it is past its windows.
    /// @dev The reference block of an epoch lies less than an epoch before its start, and reports of an old committee set are of
    /// epochs that start less than an epoch after the new one: either way the epoch starts less than one length after the change.
    /// Its report may then come until `1 + validEpochs` lengths after that start, and its longer window follows.
    function period(address settlement) internal view returns (uint256) {
        ISlaSettlement.Config memory c = ISlaSettlement(settlement).config();
        return (2 + uint256(c.validEpochs)) * c.epochLength + Math.max(c.rewardWindow, c.slashWindow);
    }
}
