// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IProviderStanding} from "../interfaces/IProviderStanding.sol";

/// @title The state machine of a provider's standing
/// @notice IProviderStanding draws it. It remembers the last three epochs that counted in the state it is in.
library StandingRules {
    uint8 internal constant REGISTERED = 0;
    uint8 internal constant ACTIVE = 1;
    uint8 internal constant WARNED = 2;
    uint8 internal constant SUSPENDED = 3;
    uint8 internal constant EJECTED = 4;

    uint8 internal constant PASS = 1;
    uint8 internal constant INSUFFICIENT = 2;
    uint8 internal constant INCONCLUSIVE = 3;
    uint8 internal constant DEGRADED = 4;
    uint8 internal constant FAIL = 5;

    uint256 private constant REMEMBERED = 3;

    /// One slot.
    struct Standing {
        uint8 state;
        uint24 recent; // outcomes, the latest in the lowest byte; zeros before the first
        uint64 next; // epoch, 0 = none was presented or skipped yet
        uint64 suspendedAt;
        uint64 reinstatedAt;
    }

    /// @notice Takes the next verdict into account.
    /// @param endsAt when its epoch ended: what was before a reinstatement is settled by it.
    function count(Standing memory self, uint8 outcome, uint256 endsAt) internal view {
        if (outcome < PASS || outcome > FAIL) revert IProviderStanding.InvalidOutcome(outcome);
        if (outcome == INSUFFICIENT || outcome == INCONCLUSIVE) return;
        if (self.state >= SUSPENDED || endsAt <= self.reinstatedAt) return;

        self.recent = (self.recent << 8) | outcome;
        if (self.state == REGISTERED) self.state = ACTIVE;
        if (self.state == ACTIVE) {
            if (outcome == FAIL || _among(self.recent, DEGRADED) >= 2) _enter(self, WARNED);
        } else if (_among(self.recent, FAIL) >= 2) {
            _enter(self, SUSPENDED);
            self.suspendedAt = uint64(block.timestamp);
        } else if (_among(self.recent, PASS) == REMEMBERED) {
            _enter(self, ACTIVE);
        }
    }

    function _enter(Standing memory self, uint8 state) private pure {
        self.state = state;
        self.recent = 0;
    }

    function _among(uint24 recent, uint8 outcome) private pure returns (uint256 times) {
        for (uint256 i = 0; i < REMEMBERED; ++i) {
            if (uint8(recent >> (8 * i)) == outcome) ++times;
        }
    }
}
