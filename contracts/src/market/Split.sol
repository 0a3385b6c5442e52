// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Where one epoch's escrow of one booking goes. provider + oracles + treasury + credit = the escrow, to the last unit.
struct Shares {
    uint256 provider;
    uint256 oracles;
    uint256 treasury;
    uint256 credit;
}

/// @title The division of an epoch's escrow, and the subsidy on top
/// @notice Every rounding has an owner: the builder gets what the multiplier's rounding leaves, the provider the margin's, the
/// treasury the split's.
library Split {
    uint256 internal constant PPM = 1_000_000;

    /// @param escrow price * GiB of the epoch; below 2^96.
    /// @param multiplierPpm at most 1e6.
    /// @param marginPpm of what the multiplier leaves.
    /// @param oracleSharePpm of the margin.
    function divide(uint256 escrow, uint256 multiplierPpm, uint256 marginPpm, uint256 oracleSharePpm)
        internal
        pure
        returns (Shares memory s)
    {
        uint256 earned = escrow * multiplierPpm / PPM;
        uint256 margin = earned * marginPpm / PPM;
        s.credit = escrow - earned;
        s.provider = earned - margin;
        s.oracles = margin * oracleSharePpm / PPM;
        s.treasury = margin - s.oracles;
    }

    /// @notice The subsidy for an epoch: its rate falls in a straight line from `ratePpm` at epoch 0 to zero at `epochs`.
    /// @dev At most the treasury's part of the margin, and so at most the margin: whoever books his own capacity loses at least as
    /// much as he draws, even if he is all oracles in one.
    function subsidy(Shares memory s, uint256 ratePpm, uint256 epoch, uint256 epochs) internal pure returns (uint256) {
        if (epoch >= epochs) return 0;
        uint256 declined = (s.oracles + s.treasury) * ratePpm / PPM * (epochs - epoch) / epochs;
        return declined < s.treasury ? declined : s.treasury;
    }
}
