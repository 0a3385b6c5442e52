// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bls12381} from "../../src/libraries/Bls12381.sol";

/// Signs in tests: the scalar multiplications of EIP-2537 with known secrets.
library BlsSigner {
    uint256 internal constant ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;
    bytes internal constant POP_DST = "ASSAY-V1-POP_BLS12381G1_XMD:SHA-256_SSWU_RO_";
    bytes internal constant REPORT_DST = "ASSAY-V1-REPORT_BLS12381G1_XMD:SHA-256_SSWU_RO_";
    bytes internal constant G2 =
        hex"00000000000000000000000000000000024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb80000000000000000000000000000000013e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e000000000000000000000000000000000ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801000000000000000000000000000000000606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be";

    /// A secret for each index, never zero.
    function secret(uint256 index) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("assay test oracle", index))) % (ORDER - 1) + 1;
    }

    function publicKey(uint256 sk) internal view returns (bytes memory) {
        return multiply(address(0x0e), G2, sk);
    }

    function sign(uint256 sk, bytes32 message, bytes memory dst) internal view returns (bytes memory) {
        return multiply(address(0x0c), Bls12381.hashToG1(abi.encodePacked(message), dst), sk);
    }

    /// One signature by the sum of all secrets is the aggregate of all their signatures.
    function sumOfSecrets(uint256 members, uint256 bitmap) internal pure returns (uint256 sum) {
        for (uint256 i = 0; i < members; ++i) {
            if ((bitmap >> i) & 1 == 1) sum = addmod(sum, secret(i), ORDER);
        }
    }

    function multiply(address msm, bytes memory point, uint256 scalar) private view returns (bytes memory) {
        (bool ok, bytes memory result) = msm.staticcall(abi.encodePacked(point, scalar));
        require(ok, "MSM failed");
        return result;
    }
}
