#include "servos.h"

#include <string.h>

#include "protocol.h"
#include "servos_talk.h"
#include "x_series.h"

/* everything that is sent fits a packet: no array has a negative length */
typedef char goals_fit[(14 + 5 * WIRING_SERVOS) * 4 / 3 < (int)DXL_MAX_PACKET ? 1 : -1];
typedef char questions_fit[(10 + 5 * SERVOS_MEMBERS) * 4 / 3 < (int)DXL_MAX_PACKET ? 1 : -1];

static const uint8_t registers[WIRING_DEVICES] = WIRING_REGISTERS; /* that are read of each device */
static const uint8_t sensor_device[ROBOT_SENSORS] = WIRING_SENSOR_DEVICES;
static const uint8_t sensor_register[ROBOT_SENSORS] = WIRING_SENSOR_REGISTERS;

static uint16_t address_of(int member)
{
    return member < WIRING_SERVOS ? X_INDIRECT_DATA : DEVICE_REGISTERS;
}

static uint16_t length_of(int member)
{
    return member < WIRING_SERVOS ? (uint16_t)SERVOS_GATHERED : (uint16_t)(4u * registers[member - WIRING_SERVOS]);
}

static void send_goals(struct servos *servos, const int32_t *actuators)
{
    struct dxl_packet packet;
    int i;

    dxl_begin(&packet, DXL_BROADCAST, DXL_SYNC_WRITE);
    dxl_u16(&packet, X_GOAL_POSITION);
    dxl_u16(&packet, 4);
    for (i = 0; i < WIRING_SERVOS; i++) {
        dxl_u8(&packet, servos_ids[i]);
        dxl_u32(&packet, (uint32_t)(WIRING_CENTRE + servos_signs[i] * actuators[i]));
    }
    (void)dxl_send(&servos->bus, &packet);
}

/* ---- what everybody says ---- */

static void take_servo(struct servos *servos, int i, const struct dxl_status *status)
{
    const uint8_t error = status->data[SERVOS_AT_ERROR];

    servos->positions[i] = servos_signs[i] * (dxl_get_i32(status->data + SERVOS_AT_POSITION) - WIRING_CENTRE);
    if (error != 0 || (status->error & DXL_ALERT) != 0) {
        servos_blame(servos, FAULT_SERVO_ALERT, (uint32_t)servos_ids[i] | (uint32_t)error << 8);
    }
    if (status->data[SERVOS_AT_TORQUE] == 0) {
        servos->loose[i] = 0;
    }
    if (servos->torque_on &&
        (status->data[SERVOS_AT_TORQUE] != 1 || status->data[SERVOS_AT_WATCHDOG] != WIRING_WATCHDOG)) {
        servos_blame(servos, FAULT_SERVO_STOPPED, servos_ids[i]); /* its watchdog has stopped it, or it has restarted */
    }
}

/* An answer to the question of a control period; returns whose it is, or -1 for none of these. */
static int take(struct servos *servos, const struct dxl_status *status)
{
    int member;

    for (member = 0; member < SERVOS_MEMBERS && servos_ids[member] != status->id; member++) {
    }
    if (member == SERVOS_MEMBERS || (status->error & DXL_ERROR_NUMBER) != 0 || status->length != length_of(member)) {
        return -1;
    }
    if (member < WIRING_SERVOS) {
        take_servo(servos, member, status);
    } else {
        int i;
        for (i = 0; i < ROBOT_SENSORS; i++) {
            if (sensor_device[i] == member - WIRING_SERVOS) {
                servos->sensors[i] = dxl_get_i32(status->data + 4u * sensor_register[i]);
            }
        }
    }
    return member;
}

/* All with one packet; returns how many of those who are not lost have not answered. A member that is silent may make
 * those behind it in the list silent too: they wait for it. What comes is listened to until nothing does any more, for
 * whoever speaks into an answer destroys it. */
static int ask_all(struct servos *servos, uint8_t *answered)
{
    struct dxl_packet packet;
    struct dxl_status status;
    int member, turn, left = 0;

    dxl_begin(&packet, DXL_BROADCAST, DXL_BULK_READ);
    for (member = 0; member < SERVOS_MEMBERS; member++) {
        answered[member] = 0;
        if (servos->lost[member]) {
            continue;
        }
        left++;
        dxl_u8(&packet, servos_ids[member]);
        dxl_u16(&packet, address_of(member));
        dxl_u16(&packet, length_of(member));
    }
    if (left == 0 || dxl_send(&servos->bus, &packet) != DXL_OK) {
        return left;
    }
    for (turn = 0; turn < 2 * SERVOS_MEMBERS && left > 0; turn++) {
        if (dxl_next(&servos->bus, dxl_port_now_us(), &status) != DXL_OK) {
            break;
        }
        member = take(servos, &status);
        if (member >= 0 && !answered[member]) {
            answered[member] = 1;
            left--;
        }
    }
    return left;
}

/* Those who have not answered, one by one; returns how many still have not. */
static int ask_again(struct servos *servos, uint8_t *answered, uint32_t start_us)
{
    struct dxl_status status;
    int member, left = 0;

    for (member = 0; member < SERVOS_MEMBERS; member++) {
        if (!answered[member] && !servos->lost[member] && dxl_port_now_us() - start_us < servos->budget_us &&
            dxl_read(&servos->bus, servos_ids[member], address_of(member), length_of(member), &status) == DXL_OK) {
            (void)take(servos, &status);
            answered[member] = 1;
        }
        left += !answered[member] && !servos->lost[member];
    }
    return left;
}

void servos_sense(struct servos *servos, int32_t *sensors)
{
    const uint32_t start_us = dxl_port_now_us();
    uint8_t answered[SERVOS_MEMBERS];
    int left = ask_all(servos, answered);
    int round, member, here = 0;

    for (round = 0; round < SERVOS_ROUNDS && left > 0; round++) {
        left = ask_again(servos, answered, start_us);
    }
    for (member = 0; member < SERVOS_MEMBERS; member++) {
        here += answered[member];
    }
    for (member = 0; member < SERVOS_MEMBERS; member++) {
        if (answered[member]) {
            servos->misses[member] = 0;
            continue;
        }
        servos->reused++;
        if (servos->misses[member] < SERVOS_MAY_MISS) {
            servos->misses[member]++;
        } else if (!servos->lost[member]) {
            if (here == 0) {
                servos_blame(servos, FAULT_BUS_LOST, SERVOS_WHOLE_BUS);
            }
            servos_lose(servos, member);
        } else {
            /* given up before, and blamed then */
        }
    }
    memcpy(sensors, servos->sensors, sizeof servos->sensors);
}

/* ---- torque ---- */

static void torque_off(struct servos *servos)
{
    const uint32_t start_us = dxl_port_now_us();
    int i;

    servos->torque_on = 0;
    servos_write_byte_all(servos, X_TORQUE_ENABLE, 0); /* at once; then who has heard it */
    for (i = 0; i < WIRING_SERVOS; i++) {
        servos->loose[i] = dxl_port_now_us() - start_us >= servos->budget_us ||
                           servos_write_one(servos, i, X_TORQUE_ENABLE, 0, 1) != DXL_OK;
        if (servos->loose[i]) {
            servos_lose(servos, i);
        }
    }
}

/* Each time anew: a servo that was off and on has forgotten it. */
static void limit_effort(struct servos *servos, int i)
{
    const enum dxl_result result =
        servos_efforts[i] == 0 ? DXL_OK : servos_write_one(servos, i, X_GOAL_PWM, (int32_t)servos_efforts[i], 2);

    if (result == DXL_REFUSED) {
        servos_blame(servos, FAULT_SERVO_SETUP, servos_ids[i]);
    } else if (result != DXL_OK) {
        servos_lose(servos, i);
    } else {
        /* it gives no more than that */
    }
}

static void torque_on(struct servos *servos, const int32_t *actuators)
{
    int i;

    send_goals(servos, actuators); /* a goal of long ago is not where the first torque goes */
    for (i = 0; i < WIRING_SERVOS && servos->fault == FAULT_NONE; i++) {
        /* 0 clears a watchdog that has stopped the servo before */
        if (servos_write_one(servos, i, X_BUS_WATCHDOG, 0, 1) != DXL_OK ||
            servos_write_one(servos, i, X_BUS_WATCHDOG, WIRING_WATCHDOG, 1) != DXL_OK) {
            servos_lose(servos, i);
        } else {
            limit_effort(servos, i);
        }
    }
    for (i = 0; i < WIRING_SERVOS && servos->fault == FAULT_NONE; i++) {
        const enum dxl_result result = servos_write_one(servos, i, X_TORQUE_ENABLE, 1, 1);
        if (result == DXL_REFUSED) { /* as one does that has shut itself down */
            servos_blame(servos, FAULT_SERVO_ALERT, servos_ids[i]);
        } else if (result != DXL_OK) {
            servos_lose(servos, i);
        } else {
            /* it holds */
        }
    }
    if (servos->fault != FAULT_NONE) {
        torque_off(servos);
        return;
    }
    servos->torque_on = 1;
    send_goals(servos, actuators); /* where torque has made the present position the goal */
}

void servos_actuate(struct servos *servos, const int32_t *actuators, int on)
{
    if (!on) {
        torque_off(servos);
    } else if (servos->torque_on) {
        send_goals(servos, actuators);
    } else if (servos->fault == FAULT_NONE) {
        torque_on(servos, actuators);
    } else {
        /* no torque before somebody has looked anew */
    }
}

void servos_rest(struct servos *servos)
{
    const uint32_t start_us = dxl_port_now_us();
    struct dxl_status status;
    int i;

    for (i = 0; i < WIRING_SERVOS && dxl_port_now_us() - start_us < servos->budget_us; i++) {
        if (servos->loose[i] && dxl_write(&servos->bus, servos_ids[i], X_TORQUE_ENABLE, 0, 1, &status) == DXL_OK) {
            servos->loose[i] = 0;
        }
    }
}
