/*
 * answers.h - what the host may ask: questions change nothing, so they may come twice.
 */
#ifndef ANSWERS_H
#define ANSWERS_H

#include "firmware.h"

/* Answers a question; 0 where the message is none. */
int answers_question(struct firmware *firmware, const struct protocol_header *header, const uint8_t *fields);

#endif
