// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";

/// @notice Epochs [start, end) of a booking at one price. One slot.
struct Term {
    uint64 start;
    uint64 end;
    uint96 price; // per GiB and epoch
    uint24 marginPpm;
}

/// @notice A builder's capacity at one provider, and the money that lies there for it. Escrow and credit together stay below 2^96,
/// so that no settlement of an epoch can overflow.
struct Booking {
    address builder;
    uint64 gib;
    uint8 termCount;
    bool released;
    uint64 providerId;
    uint96 escrow; // for the epochs that are not settled yet
    uint96 credit; // the builder's, to withdraw
    mapping(uint256 index => Term) terms;
    BitMaps.BitMap settled;
}

/// @title A booking's terms, escrow and credit
library Bookings {
    using BitMaps for BitMaps.BitMap;

    /// An extension at another price is another term; to find an epoch's term must stay cheap.
    uint256 internal constant MAX_TERMS = 8;

    error TooManyTerms();

    function last(Booking storage self) internal view returns (Term storage) {
        return self.terms[self.termCount - 1];
    }

    /// The first epoch that is not booked any more.
    function endEpoch(Booking storage self) internal view returns (uint64) {
        return last(self).end;
    }

    /// The term that an epoch lies in.
    function find(Booking storage self, uint64 epoch) internal view returns (bool found, Term memory term) {
        for (uint256 i = self.termCount; i > 0; --i) {
            term = self.terms[i - 1];
            if (epoch >= term.start) return (epoch < term.end, term);
        }
    }

    /// Adds epochs at the end, and their price to the escrow.
    /// @return cost the escrow that they need.
    function append(Booking storage self, uint64 start, uint32 epochs, uint96 price, uint24 marginPpm) internal returns (uint256 cost) {
        uint8 count = self.termCount;
        if (count > 0 && last(self).price == price && last(self).marginPpm == marginPpm) {
            last(self).end += epochs;
        } else {
            if (count == MAX_TERMS) revert TooManyTerms();
            self.terms[count] = Term({start: start, end: start + epochs, price: price, marginPpm: marginPpm});
            self.termCount = count + 1;
        }
        cost = epochCost(self, price) * epochs;
        SafeCast.toUint96(self.escrow + uint256(self.credit) + cost);
        self.escrow += uint96(cost);
    }

    /// Ends the booking before epoch `end`, which lies at or after its start and in the future, and credits what was paid for the rest.
    function cut(Booking storage self, uint64 end) internal returns (uint256 refund) {
        uint8 count = self.termCount;
        while (count > 1 && self.terms[count - 1].start >= end) {
            refund += termCost(self, self.terms[--count], 0);
            delete self.terms[count];
        }
        self.termCount = count;
        Term storage term = last(self);
        refund += termCost(self, term, end);
        term.end = end;
        credit(self, refund);
    }

    /// Marks an epoch as settled.
    function settle(Booking storage self, uint64 epoch, uint256 cost, uint256 credited) internal {
        self.settled.set(epoch);
        self.escrow -= uint96(cost);
        self.credit += uint96(credited);
    }

    function isSettled(Booking storage self, uint64 epoch) internal view returns (bool) {
        return self.settled.get(epoch);
    }

    /// What an epoch at this price costs.
    function epochCost(Booking storage self, uint96 price) internal view returns (uint256) {
        return uint256(price) * self.gib;
    }

    /// What the term's epochs from `from` on cost.
    function termCost(Booking storage self, Term storage term, uint64 from) private view returns (uint256) {
        uint64 start = from > term.start ? from : term.start;
        return epochCost(self, term.price) * (term.end - start);
    }

    /// Moves money from escrow to credit.
    function credit(Booking storage self, uint256 amount) private {
        self.escrow -= uint96(amount);
        self.credit += uint96(amount);
    }
}
