// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @notice What is listed and booked of one class in one region. Costs are sums of price * GiB.
struct Area {
    uint64 listedGib;
    uint64 bookedGib;
    uint128 bookedCost;
    uint256 listedCost;
}

/// @title Price index and quote of a class in a region
library PriceBook {
    uint256 internal constant PPM = 1_000_000;
    /// The quote's curve over utilisation: 1 up to the first point, then in straight lines 1.25 at the second and 2 when all is booked.
    uint256 internal constant CALM_PPM = 500_000;
    uint256 internal constant TIGHT_PPM = 800_000;
    uint256 internal constant TIGHT_FACTOR_PPM = 1_250_000;
    uint256 internal constant FULL_FACTOR_PPM = 2_000_000;

    /// @notice The average price per GiB and epoch, weighted by GiB, rounded down: of the live bookings; with none, of the listings.
    function index(Area storage self) internal view returns (uint256) {
        if (self.bookedGib > 0) return self.bookedCost / self.bookedGib;
        return self.listedGib == 0 ? 0 : self.listedCost / self.listedGib;
    }

    /// @notice The price per GiB and epoch, rounded up, that `gib` more may be expected to cost. Zero when there is not as much.
    function quote(Area storage self, uint64 gib) internal view returns (uint256) {
        uint256 wanted = uint256(self.bookedGib) + gib;
        if (wanted > self.listedGib || wanted == 0) return 0;
        return Math.mulDiv(index(self), factor(wanted * PPM / self.listedGib), PPM, Math.Rounding.Ceil);
    }

    /// @notice The curve.
    function factor(uint256 utilisationPpm) internal pure returns (uint256) {
        if (utilisationPpm <= CALM_PPM) return PPM;
        if (utilisationPpm <= TIGHT_PPM) return line(utilisationPpm, CALM_PPM, PPM, TIGHT_PPM, TIGHT_FACTOR_PPM);
        return line(utilisationPpm, TIGHT_PPM, TIGHT_FACTOR_PPM, PPM, FULL_FACTOR_PPM);
    }

    function line(uint256 x, uint256 x0, uint256 y0, uint256 x1, uint256 y1) private pure returns (uint256) {
        return y0 + (y1 - y0) * (x - x0) / (x1 - x0);
    }

    function list(Area storage self, uint64 gib, uint96 price) internal {
        self.listedGib += gib;
        self.listedCost += uint256(gib) * price;
    }

    function unlist(Area storage self, uint64 gib, uint96 price) internal {
        self.listedGib -= gib;
        self.listedCost -= uint256(gib) * price;
    }

    function book(Area storage self, uint64 gib, uint96 price) internal {
        self.bookedGib += gib;
        self.bookedCost += uint128(gib) * price;
    }

    function unbook(Area storage self, uint64 gib, uint96 price) internal {
        self.bookedGib -= gib;
        self.bookedCost -= uint128(gib) * price;
    }
}
