/** How long a settled message's id is remembered where the caller does not say: a day. */
export const defaultRememberMs = 24 * 3_600_000;
