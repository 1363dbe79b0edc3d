// The version of this program. package.json has it too; a test holds them together, so that nothing is read for it.

export const VERSION = '0.1.0';
