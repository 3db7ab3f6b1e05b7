#include "safety.h"

#include "protocol.h"
#include "rom.h"

#define NO SAFETY_REFUSED
#define IDLE STATE_IDLE
#define ARMED STATE_ARMED
#define RUN STATE_RUN
#define HOLD STATE_HOLD
#define FAULT STATE_FAULT
#define ESTOP STATE_ESTOP

/* Read a row as: in this state, the events lead to. What the table keeps:
 * - RUN is entered from ARMED only, ARMED from IDLE by a command, or from RUN at the end of an episode;
 * - HOLD leads to no state with torque: an episode that entered it is over;
 * - FAULT is left by DISARM, ESTOP by CLEAR_ESTOP, both to IDLE; neither by a takeover;
 * - ESTOP is entered from everywhere. */
static const uint8_t table[SAFETY_STATES][SAFETY_EVENTS] ROM = {
    /*            BOOTED FAULT  ARM    DISARM RUN  STOP   FINISHED HOLD  RELEASE ESTOP  CLEAR TAKEOVER */
    /* BOOT  */ {IDLE,  FAULT, NO,    NO,    NO,  NO,    NO,      NO,   NO,     ESTOP, NO,   NO},
    /* IDLE  */ {NO,    FAULT, ARMED, IDLE,  NO,  IDLE,  NO,      NO,   NO,     ESTOP, IDLE, IDLE},
    /* ARMED */ {NO,    FAULT, ARMED, IDLE,  RUN, ARMED, NO,      NO,   NO,     ESTOP, NO,   IDLE},
    /* RUN   */ {NO,    FAULT, NO,    IDLE,  NO,  ARMED, ARMED,   HOLD, FAULT,  ESTOP, NO,   NO},
    /* HOLD  */ {NO,    FAULT, NO,    IDLE,  NO,  FAULT, FAULT,   NO,   FAULT,  ESTOP, NO,   NO},
    /* FAULT */ {NO,    FAULT, NO,    IDLE,  NO,  FAULT, NO,      NO,   NO,     ESTOP, NO,   FAULT},
    /* ESTOP */ {NO,    ESTOP, NO,    NO,    NO,  ESTOP, NO,      NO,   NO,     ESTOP, IDLE, ESTOP},
};

uint8_t safety_next(uint8_t state, uint8_t event)
{
    if (state >= SAFETY_STATES || event >= SAFETY_EVENTS) {
        return SAFETY_REFUSED;
    }
    return rom_u8(&table[state][event]);
}

int safety_torque(uint8_t state)
{
    return state == STATE_RUN || state == STATE_HOLD;
}
