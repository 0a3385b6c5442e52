// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bls12381} from "../../src/libraries/Bls12381.sol";

/// The library takes signatures from calldata, tests have them in memory.
contract BlsVerifier {
    function verify(bytes memory key, bytes32 message, bytes memory dst, bytes calldata signature) external view returns (bool) {
        return Bls12381.verify(key, message, dst, signature);
    }
}
