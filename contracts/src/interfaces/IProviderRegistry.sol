// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Who the providers are, what they staked, and what they say they store
/// @notice A provider's id counts from 1 in order of registration and is never used twice.
interface IProviderRegistry {
    struct Provider {
        address operator; // the cold owner
        address recipient; // is paid
        address receiptKey; // secp256k1; signs answers and claim sets
        uint16 classId;
        uint64 claimSequence; // 0 = nothing published yet
        uint64 claimBlocks; // blocks of all claims together
        uint64 claimCount;
        bytes32 claimRoot;
        uint256 stake; // smallest unit of the token
        uint64 region;
        bool active;
        string endpoint;
    }

    event ProviderRegistered(uint64 indexed providerId, address indexed operator, string endpoint);
    event ClaimsPublished(uint64 indexed providerId, uint64 sequence, bytes32 root, uint64 blocks, uint64 count);
    event ProviderSlashed(uint64 indexed providerId, uint256 amount);
    event SettlementSet(address indexed settlement);

    error ZeroAddress();
    error InvalidEndpoint();
    error InvalidClass();
    /// 4,096 providers, as many as nodes read.
    error RegistryFull();
    error StakeTooLow(uint256 stake, uint256 minimum);
    error UnknownProvider(uint64 providerId);
    error WrongSequence(uint64 given, uint64 expected);
    /// Not 65 bytes, a high s, a wrong v, or another key than the provider's receipt key.
    error InvalidClaimsSignature();
    error SettlementAlreadySet();
    error OnlySettlement();

    /// @notice Registers the sender as a provider and takes its stake (approve it first).
    /// @dev Refused beyond 4,096 providers: every node reads all of them for every epoch, so an endless registry would stop them all.
    /// `minStake` is what a place costs. An endpoint is 1 to 255 bytes; one that nodes cannot use (other than printable ASCII without
    /// spaces) makes a provider that nobody reaches. `classId` only has to be non-zero: what a class demands is in the parameters that reports name by hash.
    function register(address receiptKey, string calldata endpoint, uint16 classId, uint64 region, address recipient, uint256 stake)
        external
        returns (uint64 providerId);

    function providerCount() external view returns (uint64);

    /// @dev Reverts with UnknownProvider.
    function provider(uint64 providerId) external view returns (Provider memory);

    /// @dev Zero for an unknown provider.
    function stakeOf(uint64 providerId) external view returns (uint256);

    /// @notice Replaces the provider's claim set. Anyone may send it; the receipt key must have signed it.
    /// @param sequence the stored one plus 1, so that no old set can be replayed.
    function publishClaims(uint64 providerId, uint64 sequence, bytes32 root, uint64 blocks, uint64 count, bytes calldata signature) external;

    /// @notice The digest that `publishClaims` wants signed, bound to this chain and this registry.
    function claimsDigest(uint64 providerId, uint64 sequence, bytes32 root, uint64 blocks, uint64 count) external view returns (bytes32);

    /// @notice Names the only contract that may slash. Owner, once.
    function setSettlement(address settlement) external;

    /// @notice Burns `min(amount, stake)` of a provider's stake: it goes to 0x...dEaD, which works with any ERC-20 and which
    /// nobody holds the key of, so nobody gains from a slash.
    /// @return slashed what was burned.
    function slash(uint64 providerId, uint256 amount) external returns (uint256 slashed);
}
