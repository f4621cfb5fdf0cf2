package store

// ResendRows is for tests of the package from outside.
const ResendRows = resendRows
