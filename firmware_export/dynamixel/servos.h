/*
 * servos.h - a robot whose actuators are position servos of one bus, and whose sensors are registers of devices on it.
 *
 * Which is which stands in wiring.h. A count of an actuator is a step of its servo, so no rounding lies between the
 * robot's file and the register: goal = centre + count, or centre - count where the servo is mounted the other way. A
 * count of a sensor is what its register says.
 *
 * What is wrong with the bus is latched in `fault` until servos_check(); the firmware makes its FAULT of it, and so
 * takes the torque off. Whoever does not answer once keeps its last values, which is counted; SERVOS_MAY_MISS control
 * periods in a row are borne.
 */
#ifndef SERVOS_H
#define SERVOS_H

#include "bus.h"
#include "robot_model.h"
#include "wiring.h"

#define SERVOS_MAY_MISS 2u
#define SERVOS_MEMBERS (WIRING_SERVOS + WIRING_DEVICES) /* servos, in the order of the actuators, then devices */

struct servos {
    struct dxl_bus bus;
    uint32_t budget_us; /* of a control period, for asking again; one exchange may exceed it by a timeout */

    uint8_t torque_on;
    uint8_t fault;   /* enum protocol_fault, or FAULT_NONE */
    uint32_t detail; /* of the fault: id, and in the next byte the servo's hardware error status */
    uint32_t reused; /* control periods times members that kept their last values */

    uint8_t misses[SERVOS_MEMBERS]; /* in a row */
    uint8_t lost[SERVOS_MEMBERS];   /* asked no more, for whoever waits for it keeps the others waiting */
    uint8_t loose[WIRING_SERVOS];   /* has not confirmed that its torque is off */
    int32_t positions[WIRING_SERVOS]; /* counts, as last read */
    int32_t sensors[ROBOT_SENSORS];
};

/* Torque off, whatever the servos did before, then servos_check(). */
void servos_start(struct servos *servos, uint32_t timeout_us, uint32_t budget_us);

/* Without torque: clears the fault, and looks whether everybody is there, well, and set up; sets up what it may. */
void servos_check(struct servos *servos);

/* Goals, in counts, and torque. Torque goes on only while there is no fault. It goes off at once, and is confirmed. */
void servos_actuate(struct servos *servos, const int32_t *actuators, int torque_on);

/* Asks everybody, once a control period, and gives sensor counts. */
void servos_sense(struct servos *servos, int32_t *sensors);

/* Without torque, now and then: asks those again whose torque may still be on. */
void servos_rest(struct servos *servos);

#endif
