/*
 * answers.h - what the host may ask: questions change nothing, so they may come twice.
 */
#ifndef ANSWERS_H
#define ANSWERS_H

#include "firmware.h"

/* Answers a question, or keeps it until the control period that is near is over; 0 where the message is none. */
int answers_question(struct firmware *firmware, const struct protocol_header *header, const uint8_t *fields);

/* Answers the question that was kept, once that period is over. */
void answers_owed(struct firmware *firmware);

#endif
