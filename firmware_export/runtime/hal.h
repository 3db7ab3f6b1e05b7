/*
 * hal.h - all that the firmware asks of a board. A board implements these functions, calls firmware_poll() as often as
 * it can and firmware_tick() once a control period, both from the same context.
 */
#ifndef HAL_H
#define HAL_H

#include <stddef.h>
#include <stdint.h>

/* Latest sensor counts, sensors[ROBOT_SENSORS]. */
void hal_sense(int32_t *sensors);

/* Applies actuators[ROBOT_ACTUATORS] (counts, within range); torque_on 0 switches the power stage off. */
void hal_actuate(const int32_t *actuators, int torque_on);

/* How sensors and actuators are that have ways of their own to fail: devices on a bus. All zeros where there are none. */
struct hal_devices {
    uint8_t fault;   /* enum protocol_fault; latched until looked at anew */
    uint32_t detail; /* of the fault */
    uint32_t reused; /* since the start: values that were used again because new ones did not come */
};

/* `anew`: looks whether everything is there and well, which may take a second. Without torque only, before arming. */
void hal_devices(int anew, struct hal_devices *devices);

/* Free-running clock in microseconds; wraps. */
uint32_t hal_now_us(void);

/* Takes up to `capacity` received bytes; returns how many. Never waits. */
size_t hal_uart_read(uint8_t *data, size_t capacity);

/* Sends a whole frame or nothing: 1 if it was taken, 0 if the line is full. Never waits. */
int hal_uart_write(const uint8_t *data, size_t length);

/* Memory that outlives a power cut, for parameters (store.h): how many bytes there are, which may be 0. */
uint32_t hal_store_size(void);

/* Bytes from and to that memory; at + length is at most hal_store_size(). A write may take milliseconds a byte, during
 * which the board's own watchdog timer is to be fed; it is called without torque only. */
void hal_store_read(uint32_t at, uint8_t *data, uint32_t length);
void hal_store_write(uint32_t at, const uint8_t *data, uint32_t length);

/* The deepest that the stack ever was, and the memory that it never reached, in bytes; 0 and 0 where nobody knows. */
void hal_stack(uint16_t *used, uint16_t *left);

/* Returns once the robot stands at its start: at once where the operator has put it there. */
void hal_episode_begin(uint32_t episode_seed);

#endif
