// Who stands behind a publish that the gateway makes itself, because its configuration says so: shown to subscribers as
// `from`, in place of a client. The link to the hub lets such a request cross although nobody listed its subject.

/** The operator, as the publisher of a message. */
export const OPERATOR: object = Object.freeze({});
