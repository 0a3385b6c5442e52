// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Who the providers are, what they staked, and what they say they store
/// @notice A provider's id counts from 1 in order of registration and is never used twice, not even after an exit. Stakes are in
/// the token's smallest unit. A provider's own stake stands in front of what others delegated to it: slashes take it first.
interface IProviderRegistry {
    struct Provider {
        address operator; // the cold owner
        address recipient; // is paid
        address receiptKey; // secp256k1; signs answers and claim sets; the one in force in this block
        uint16 classId;
        uint64 claimSequence; // 0 = nothing published yet
        uint64 claimBlocks; // blocks of all claims together
        uint64 claimCount;
        bytes32 claimRoot;
        uint256 stake; // its own
        uint64 region;
        bool active; // false from the request to exit on
        string endpoint;
    }

    /// Fixed for ever.
    struct Terms {
        uint64 unbondingSeconds; // from the request to exit, or to undelegate, to the withdrawal
        uint64 evidenceSeconds; // how long after every window slashes may still come: at least as long as courts may hold a report
        ClassStake[] classes;
    }

    struct ClassStake {
        uint16 classId;
        uint256 perGib; // stake behind each GiB of capacity
    }

    struct Delegation {
        uint256 shares; // of the provider's pool, without those leaving
        uint256 leaving;
        uint64 withdrawableAt; // unix seconds; of all that is leaving
    }

    event ProviderRegistered(uint64 indexed providerId, address indexed operator, string endpoint);
    event ClaimsPublished(uint64 indexed providerId, uint64 sequence, bytes32 root, uint64 blocks, uint64 count);
    event ProviderSlashed(uint64 indexed providerId, uint256 amount);
    event SettlementSet(address indexed settlement);
    event MarketSet(address indexed market);
    event StakeAdded(uint64 indexed providerId, uint256 amount);
    event CapacityDeclared(uint64 indexed providerId, uint64 gib);
    event EndpointSet(uint64 indexed providerId, string endpoint);
    event RecipientSet(uint64 indexed providerId, address recipient);
    /// The old key signs until `activeAt` (unix seconds).
    event ReceiptKeyAnnounced(uint64 indexed providerId, address receiptKey, uint256 activeAt);
    event ExitRequested(uint64 indexed providerId, uint256 withdrawableAt);
    event Withdrawn(uint64 indexed providerId, uint256 amount);
    event Delegated(uint64 indexed providerId, address indexed delegator, uint256 amount, uint256 shares);
    event UndelegationRequested(uint64 indexed providerId, address indexed delegator, uint256 shares, uint256 withdrawableAt);
    event DelegationWithdrawn(uint64 indexed providerId, address indexed delegator, uint256 shares, uint256 amount);

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
    error MarketAlreadySet();
    error UnbondingTooShort(uint256 unbondingSeconds, uint256 least);
    error OnlyOperator(uint64 providerId);
    error ZeroAmount();
    /// The provider has asked to exit.
    error NotActive(uint64 providerId);
    error NotExiting(uint64 providerId);
    error AlreadyWithdrawn(uint64 providerId);
    error StillBonded(uint256 until);
    /// Bookings bind the provider until then.
    error StillObliged(uint256 until);
    error TooFewShares(uint256 wanted, uint256 held);
    error NothingLeaving();
    /// Less than a share is worth, or slashes took all that was delegated before.
    error NoShares();

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

    /// @notice The key that answers are signed with, in force in this block; zero for an unknown provider. `provider` says the same, and
    /// reads all the rest.
    function receiptKeyOf(uint64 providerId) external view returns (address);

    /// @notice All that a slash can take: own and delegated stake, exiting or not. Zero for an unknown provider.
    function stakeOf(uint64 providerId) external view returns (uint256);

    /// @notice The two parts of `stakeOf`. What is delegated includes what is unbonding.
    function stakeTotalOf(uint64 providerId) external view returns (uint256 own, uint256 delegated);

    /// @notice Takes more own stake from the operator, who alone may call.
    function addStake(uint64 providerId, uint256 amount) external;

    /// @notice States what the provider offers, in GiB. Operator only. Own and delegated stake must back it at the class's price.
    /// @dev Reverts with InvalidClass when the class has no price. Capacity that is booked stays booked when less is declared.
    function declareCapacity(uint64 providerId, uint64 gib) external;

    /// @notice What can be booked in all: the declared capacity, as far as stake that is not leaving backs it now. Zero for a provider
    /// that is exiting or unknown.
    function capacityOf(uint64 providerId) external view returns (uint64 gib);

    /// @notice Stake behind each GiB of this class; zero when the class has no price.
    function stakePerGib(uint16 classId) external view returns (uint256);

    /// @notice Unix seconds.
    /// @dev Reverts with UnknownProvider.
    function registeredAt(uint64 providerId) external view returns (uint64);

    /// @notice These take effect at once, that is for the epochs whose reference block comes later. Operator only.
    function setEndpoint(uint64 providerId, string calldata endpoint) external;
    function setRecipient(uint64 providerId, address recipient) external;

    /// @notice Announces another receipt key; a second announcement replaces the first. Operator only.
    /// @dev It takes effect when every report of an epoch that began before the announcement is past its windows (see the library
    /// Liability): what the old key signed is judged by the old key. At once while no settlement is named.
    function setReceiptKey(uint64 providerId, address receiptKey) external;

    /// @notice Seconds from the announcement of a receipt key to its use.
    function keyDelaySeconds() external view returns (uint64);

    /// @notice Leaves, for ever: the provider is measured, paid and booked no more. Operator only. Refused while bookings bind it,
    /// unless the settlement's escape is open.
    function requestExit(uint64 providerId) external;

    /// @notice Pays what is left of the own stake to the operator, who alone may call, once, when the unbonding is over and nothing
    /// binds the provider. Both are waived while the settlement's escape is open.
    function withdraw(uint64 providerId) external;

    /// @notice Stakes the sender's tokens behind a provider. They back its capacity and are slashed, at once, behind its own stake
    /// and all delegators alike. What the provider pays for that is between the two.
    /// @return shares of the pool. A share's price only falls, but for roundings.
    function delegate(uint64 providerId, uint256 amount) external returns (uint256 shares);

    /// @notice Takes shares back; they stay slashable until they are withdrawn. Asking for more starts the time of all anew.
    function undelegate(uint64 providerId, uint256 shares) external;

    /// @notice Pays the sender's leaving shares at the price they have now, after the unbonding or while the escape is open.
    function withdrawDelegation(uint64 providerId) external returns (uint256 amount);

    function delegation(uint64 providerId, address delegator) external view returns (Delegation memory);

    /// @notice The provider's pool: what all its shares are worth, how many there are, and how many of them are leaving.
    function poolOf(uint64 providerId) external view returns (uint256 assets, uint256 shares, uint256 leaving);

    function unbondingSeconds() external view returns (uint64);
    function evidenceSeconds() external view returns (uint64);

    /// @notice Replaces the provider's claim set. Anyone may send it; the receipt key must have signed it.
    /// @param sequence the stored one plus 1, so that no old set can be replayed.
    function publishClaims(uint64 providerId, uint64 sequence, bytes32 root, uint64 blocks, uint64 count, bytes calldata signature) external;

    /// @notice The digest that `publishClaims` wants signed, bound to this chain and this registry.
    function claimsDigest(uint64 providerId, uint64 sequence, bytes32 root, uint64 blocks, uint64 count) external view returns (bytes32);

    /// @notice Names the only contract that may slash. Owner, once.
    /// @dev The unbonding must outlast every report that may concern who leaves (see the library Liability) and then `evidenceSeconds`.
    function setSettlement(address settlement) external;

    /// @notice Names the contract whose bookings bind providers (IObligations). Owner, once.
    function setMarket(address market) external;

    /// @notice Burns `min(amount, stakeOf)`, first the own stake and then the delegated: it goes to 0x...dEaD, which works with any
    /// ERC-20 and which nobody holds the key of, so nobody gains from a slash. Settlement only.
    /// @return slashed what was burned.
    function slash(uint64 providerId, uint256 amount) external returns (uint256 slashed);
}
