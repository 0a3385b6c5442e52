// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// One oracle's observation: a pointer to its words in memory, in the order of docs/protocol.md.
type Observation is uint256;

using JudgementPanel for Observation global;

/// The panel of one provider. With `totalWeight` 0 it was drawn, and every seat counts one; otherwise it is the whole committee
/// set, and a seat counts its weight.
struct Panel {
    uint256 seats; // absent ones included
    uint256 totalWeight;
    Observation[] told; // of the seats that are not absent, in their order
    uint256[] votes; // of each of `told`
}

/// @title A panel's observations, from a compact form to the words that reports commit to
/// @notice Only the standard kinds of protocol version 1 have this layout. The compact form leaves out what every observation of one
/// provider and epoch shares: the tag, epoch, provider and the shape of the lists. What is left has one reading: per observation 37
/// numbers of 8 bytes (oracle id, each kind's scheduled, counted, bad, readings; witness), then the words witnessed, struck,
/// evidenceRoot and factsRoot.
library JudgementPanel {
    uint256 internal constant PACKED = 37 * 8 + 4 * 32;
    uint256 internal constant MAX_SEATS = 256;

    bytes32 private constant OBSERVATION_TAG = keccak256("assay.observation.v1");
    uint256 private constant BYTES = 2112; // 66 words

    /// Places of words within an observation.
    uint256 internal constant EPOCH = 1;
    uint256 internal constant PROVIDER = 2;
    uint256 internal constant ORACLE = 3;
    uint256 internal constant WITNESS = 61;
    uint256 internal constant WITNESSED = 62;
    uint256 internal constant FACTS_ROOT = 65;

    /// Place of each kind's `scheduled`; `counted` follows, then the number of grounds and the bad events on each.
    uint256 internal constant AVAILABILITY = 6;
    uint256 internal constant LATENCY_ECHO = 12;
    uint256 internal constant LATENCY_BLOCK = 22;
    uint256 internal constant STORAGE = 32;
    uint256 internal constant INGRESS = 40;
    uint256 internal constant EGRESS = 47;
    uint256 internal constant LOCALITY = 54;

    uint256 internal constant SILENT = 1;
    uint256 internal constant ANSWERED = 2;

    /// No seat, more than a committee has members, or a bit beyond them.
    error InvalidSeats(uint256 seats, uint256 present);
    error InvalidObservationsLength(uint256 given, uint256 expected);

    /// @notice Opens a panel: bit `i` of `present` says that seat `i`, ascending by oracle, has an observation in `packed`.
    /// @return told the observations.
    /// @return vector keccak over every seat's word, as the leaf of `obsRoot` names it.
    function open(uint64 epoch, uint64 providerId, uint256 seats, uint256 present, bytes calldata packed)
        internal
        pure
        returns (Observation[] memory told, bytes32 vector)
    {
        if (seats == 0 || seats > MAX_SEATS || present & ~(type(uint256).max >> (256 - seats)) != 0) {
            revert InvalidSeats(seats, present);
        }
        uint256 count = ones(present);
        if (packed.length != count * PACKED) revert InvalidObservationsLength(packed.length, count * PACKED);

        told = new Observation[](count);
        bytes32[] memory words = new bytes32[](seats);
        uint256 next;
        for (uint256 seat = 0; seat < seats; ++seat) {
            if ((present >> seat) & 1 == 0) continue;
            Observation observation = next == 0 ? blank(epoch, providerId) : copy(told[next - 1]);
            fill(observation, packed, next * PACKED);
            told[next++] = observation;
            words[seat] = digest(observation);
        }
        assembly ("memory-safe") {
            vector := keccak256(add(words, 0x20), mul(seats, 32))
        }
    }

    /// @notice Whether no verified reveal has such observations: oracles that do not ascend, more counted than scheduled, more bad than
    /// counted, or an unknown witness.
    function isImpossible(Observation[] memory told) internal pure returns (bool) {
        uint256 previous;
        for (uint256 i = 0; i < told.length; ++i) {
            Observation observation = told[i];
            uint256 oracle = observation.word(ORACLE);
            if (i != 0 && oracle <= previous) return true;
            previous = oracle;
            uint256 witness = observation.word(WITNESS);
            if (witness > ANSWERED || (witness == 0 && observation.word(WITNESSED) != 0)) return true;
            if (
                isOver(observation, AVAILABILITY, 1) || isOver(observation, LATENCY_ECHO, 3) || isOver(observation, LATENCY_BLOCK, 3)
                    || isOver(observation, STORAGE, 3) || isOver(observation, INGRESS, 1) || isOver(observation, EGRESS, 1)
                    || isOver(observation, LOCALITY, 1)
            ) return true;
        }
        return false;
    }

    /// @notice Whether some oracle revealed a fact about the provider.
    function namesFact(Observation[] memory told) internal pure returns (bool) {
        for (uint256 i = 0; i < told.length; ++i) {
            if (told[i].word(FACTS_ROOT) != 0) return true;
        }
        return false;
    }

    /// @notice One word of an observation.
    function word(Observation self, uint256 index) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := mload(add(self, shl(5, index)))
        }
    }

    function isOver(Observation observation, uint256 kind, uint256 grounds) private pure returns (bool over) {
        uint256 counted = observation.word(kind + 1);
        over = counted > observation.word(kind);
        unchecked {
            for (uint256 bad = kind + 3; bad < kind + 3 + grounds; ++bad) {
                if (observation.word(bad) > counted) over = true;
            }
        }
    }

    function digest(Observation observation) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            hash := keccak256(observation, BYTES)
        }
    }

    function ones(uint256 bits) private pure returns (uint256 count) {
        for (; bits != 0; bits &= bits - 1) {
            ++count;
        }
    }

    /// What all observations of a provider and an epoch share.
    function blank(uint64 epoch, uint64 providerId) private pure returns (Observation observation) {
        bytes32 tag = OBSERVATION_TAG;
        assembly ("memory-safe") {
            observation := mload(0x40)
            mstore(0x40, add(observation, BYTES))
            calldatacopy(observation, calldatasize(), BYTES)
            mstore(observation, tag)
        }
        put(observation, EPOCH, epoch);
        put(observation, PROVIDER, providerId);
        put(observation, 4, 7);
        head(observation, AVAILABILITY, 1, 1, 0);
        head(observation, LATENCY_ECHO, 2, 3, 2);
        head(observation, LATENCY_BLOCK, 3, 3, 2);
        head(observation, STORAGE, 4, 3, 0);
        head(observation, INGRESS, 5, 1, 1);
        head(observation, EGRESS, 6, 1, 1);
        head(observation, LOCALITY, 7, 1, 2);
    }

    function head(Observation observation, uint256 place, uint256 kind, uint256 grounds, uint256 readings) private pure {
        put(observation, place - 1, kind);
        put(observation, place + 2, grounds);
        put(observation, place + 3 + grounds, readings);
    }

    function copy(Observation from) private pure returns (Observation observation) {
        assembly ("memory-safe") {
            observation := mload(0x40)
            mstore(0x40, add(observation, BYTES))
            mcopy(observation, from, BYTES)
        }
    }

    /// Writes what varies.
    function fill(Observation observation, bytes calldata packed, uint256 from) private pure {
        uint256 source;
        assembly ("memory-safe") {
            source := add(packed.offset, from)
        }
        source = numbers(observation, source, ORACLE, 1);
        source = numbers(observation, source, AVAILABILITY, 2);
        source = numbers(observation, source, AVAILABILITY + 3, 1);
        source = numbers(observation, source, LATENCY_ECHO, 2);
        source = numbers(observation, source, LATENCY_ECHO + 3, 3);
        source = numbers(observation, source, LATENCY_ECHO + 7, 2);
        source = numbers(observation, source, LATENCY_BLOCK, 2);
        source = numbers(observation, source, LATENCY_BLOCK + 3, 3);
        source = numbers(observation, source, LATENCY_BLOCK + 7, 2);
        source = numbers(observation, source, STORAGE, 2);
        source = numbers(observation, source, STORAGE + 3, 3);
        source = numbers(observation, source, INGRESS, 2);
        source = numbers(observation, source, INGRESS + 3, 1);
        source = numbers(observation, source, INGRESS + 5, 1);
        source = numbers(observation, source, EGRESS, 2);
        source = numbers(observation, source, EGRESS + 3, 1);
        source = numbers(observation, source, EGRESS + 5, 1);
        source = numbers(observation, source, LOCALITY, 2);
        source = numbers(observation, source, LOCALITY + 3, 1);
        source = numbers(observation, source, LOCALITY + 5, 2);
        source = numbers(observation, source, WITNESS, 1);
        assembly ("memory-safe") {
            calldatacopy(add(observation, mul(WITNESSED, 32)), source, 128)
        }
    }

    /// Up to four numbers of 8 bytes to the words from `place` on.
    function numbers(Observation observation, uint256 source, uint256 place, uint256 count) private pure returns (uint256) {
        assembly ("memory-safe") {
            let target := add(observation, shl(5, place))
            let read := calldataload(source)
            for { let end := add(target, shl(5, count)) } lt(target, end) { target := add(target, 32) } {
                mstore(target, shr(192, read))
                read := shl(64, read)
            }
        }
        unchecked {
            return source + 8 * count;
        }
    }

    function put(Observation observation, uint256 place, uint256 value) private pure {
        assembly ("memory-safe") {
            mstore(add(observation, shl(5, place)), value)
        }
    }
}
