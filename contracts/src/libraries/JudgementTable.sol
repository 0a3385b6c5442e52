// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Critical counts of the one-sided binomial test at alpha = 10^-4
/// @notice The same integers as core/src/verdict/critical.rs; tests/vectors/judgement.json holds both to each other. For an allowed
/// share p0 the entry `x - 1` of its table is the largest n with P(Binomial(n, p0) >= x) <= 10^-4, two bytes each.
library JudgementTable {
    bytes internal constant P1000 = hex"0000000e005700e901be02cb0408056d06f408980a560c2b0e14100e12191433165a188e1acd1d171f6a21c7242d269a290f2b8b2e0e3097"
        hex"332635bc38563af63d9b404442f245a5485b4b164dd55097535d5626";
    bytes internal constant P5000 = hex"000000030012002f005a009000d00118016601ba0214027202d4033903a2040e047c04ed056005d6064d06c6074107bd083b08bb093b09bd"
        hex"0a400ac50b4a0bd10c580ce10d6a0df40e7f0f0b0f98102510b31142";
    bytes internal constant P10000 = hex"0000000100090018002e00490069008d00b400df010c013b016c019f01d302090240027902b302ed0329036603a303e20421046104a104e2"
        hex"0524056605a905ec0630067406b906fe0744078a07d00817085e08a6";
    bytes internal constant P50000 = hex"0000000100020006000a00100017001e0026002f00380042004c00560061006c00770083008e009a00a600b300bf00cc00d800e500f20100"
        hex"010d011a0128013501430151015f016d017b0189019701a5";
    bytes internal constant P500000 = hex"0000000100020003000400050006000700080009000a000b000c000e000f0010001200130014001600170019001a001c001d001f00200022"
        hex"00230025002600280029002b002c002e002f003100330034003600370039003a003c003e003f004100430044004600470049004b";

    /// @notice The table of the smallest p0 that is not below the allowance: between two tables the one that asks for more, in the
    /// provider's favour. Empty beyond the last.
    function tableOf(uint256 allowedPpm) internal pure returns (bytes memory table) {
        if (allowedPpm <= 1_000) return P1000;
        if (allowedPpm <= 5_000) return P5000;
        if (allowedPpm <= 10_000) return P10000;
        if (allowedPpm <= 50_000) return P50000;
        if (allowedPpm <= 500_000) return P500000;
    }

    /// @notice Whether `bad` of `counted` is too many for chance when `allowedPpm` is just kept.
    /// @dev Beyond a table's end every material excess is significant; the caller has checked that it is one.
    function isSignificant(uint256 allowedPpm, uint256 bad, uint256 counted) internal pure returns (bool) {
        bytes memory table = tableOf(allowedPpm);
        if (table.length == 0 || bad == 0) return false;
        if (bad > table.length / 2) return true;
        uint256 limit;
        assembly ("memory-safe") {
            limit := shr(240, mload(add(add(table, 0x20), mul(2, sub(bad, 1)))))
        }
        return counted <= limit;
    }
}
