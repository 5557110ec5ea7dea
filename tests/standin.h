/* The supervisor as it is, over a worker that does what a test wants. It answers each client with one line of what it
 * was handed, then does what single bytes tell it: 'k' dies by SIGKILL, 'x' exits with status 7, others come back.
 * TEST_WORKER chooses its way: "die" before it is ready, "die cuda:1" only where that is its device, and if there is
 * $TEST_GONE in the environment only if there is a file of that name, "drop" with the first client in its first life,
 * "deaf" to the end of its channel. SPDX-License-Identifier: Apache-2.0 */
#ifndef TD_TESTS_STANDIN_H
#define TD_TESTS_STANDIN_H

/* What tensord's main does. The program that calls it has to do so whenever it is started by itself. */
int standin_main(int argc, char **argv);

#endif
