/*
 * alone.h - an adaptation that the controller runs by itself, between firmware.c and commands.c: what the operator orders
 * becomes candidates and episodes, and the host hears of it, if it listens.
 */
#ifndef ALONE_H
#define ALONE_H

#include "firmware.h"

/* Whether an adaptation is under way, paused or not. */
int alone_active(const struct firmware *firmware);

/* ADAPT, in a state from which an episode may begin. */
struct params_outcome alone_start(struct firmware *firmware, const struct msg_adapt *message);

/* Between episodes: carries out what the operator orders, up to the next episode or for some milliseconds. */
void alone_go_on(struct firmware *firmware);

/* The operator's episode is over, and counts. */
void alone_tell(struct firmware *firmware);

/* It ends here: stopped, or another host's. The base stays what it is now. */
void alone_end(struct firmware *firmware);

/* PAUSE and RESUME; the running episode is dropped, and begins anew. */
void alone_pause(struct firmware *firmware);
void alone_resume(struct firmware *firmware);

/* ADAPTATION to the host. */
void alone_report(struct firmware *firmware);

#endif
