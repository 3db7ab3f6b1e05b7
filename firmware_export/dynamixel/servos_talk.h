/*
 * servos_talk.h - what servos.c and servos_check.c share: who is on the bus, what is wrong with it, registers of one
 * servo or of all. Nobody else calls it.
 */
#ifndef SERVOS_TALK_H
#define SERVOS_TALK_H

#include "servos.h"

#define SERVOS_ROUNDS 2 /* a question that got no answer is asked so many times more, of the one it was for */
#define SERVOS_WHOLE_BUS DXL_BROADCAST /* in place of an id: nobody answers */

extern const uint8_t servos_ids[SERVOS_MEMBERS];
extern const int8_t servos_signs[WIRING_SERVOS];
extern const uint16_t servos_efforts[WIRING_SERVOS]; /* goal PWM; 0: the servo keeps its own */

/* What is read of a servo in each control period, gathered by indirect addresses: bytes, and where they stand. */
#define SERVOS_AT_TORQUE 0   /* torque enable */
#define SERVOS_AT_ERROR 1    /* hardware error status */
#define SERVOS_AT_WATCHDOG 2 /* bus watchdog */
#define SERVOS_AT_POSITION 3 /* present position, four bytes */
#define SERVOS_GATHERED 7u

/* Latches a fault and what it is about; the first one says most. */
void servos_blame(struct servos *servos, uint8_t fault, uint32_t detail);

/* From now on a member is asked no more. */
void servos_lose(struct servos *servos, int member);

/* The same value into a register of all servos, unconfirmed. */
void servos_write_all(struct servos *servos, uint16_t address, const uint8_t *value, uint16_t size);
void servos_write_byte_all(struct servos *servos, uint16_t address, uint8_t value);

/* A register of one servo, confirmed; asks again where nothing comes, but for one that is lost. */
enum dxl_result servos_write_one(struct servos *servos, int i, uint16_t address, int32_t value, unsigned size);

/* Registers of one servo; asks again where nothing comes. */
enum dxl_result servos_read_one(struct servos *servos, int i, uint16_t address, uint16_t length,
                                struct dxl_status *status);

#endif
