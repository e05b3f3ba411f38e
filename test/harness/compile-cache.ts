/** For programs that get nothing else of this process's environment: half of their start is compiling what all share. */

export const compileCache = { NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE }
