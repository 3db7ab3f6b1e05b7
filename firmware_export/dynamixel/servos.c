#include "servos.h"

#include <string.h>

#include "protocol.h"
#include "x_series.h"

#define ROUNDS 2 /* a question that got no answer is asked so many times more, of the one it was for */
#define HIGHEST_COUNT 0x40000000L /* beyond every range */
#define WHOLE_BUS DXL_BROADCAST   /* in place of an id: nobody answers */

/* What is read of a servo in each control period, gathered by indirect addresses: torque enable, hardware error status,
 * bus watchdog, present position. */
static const uint16_t gathered[] = {X_TORQUE_ENABLE,         X_HARDWARE_ERROR,        X_BUS_WATCHDOG,
                                    X_PRESENT_POSITION,      X_PRESENT_POSITION + 1u, X_PRESENT_POSITION + 2u,
                                    X_PRESENT_POSITION + 3u};
#define GATHERED (sizeof gathered / sizeof gathered[0])
#define AT_TORQUE 0
#define AT_ERROR 1
#define AT_WATCHDOG 2
#define AT_POSITION 3

/* everything that is sent fits a packet: no array has a negative length */
typedef char goals_fit[(14 + 5 * WIRING_SERVOS) * 4 / 3 < (int)DXL_MAX_PACKET ? 1 : -1];
typedef char profiles_fit[14 + 9 * WIRING_SERVOS < (int)DXL_MAX_PACKET ? 1 : -1];
typedef char questions_fit[(10 + 5 * SERVOS_MEMBERS) * 4 / 3 < (int)DXL_MAX_PACKET ? 1 : -1];

static const uint8_t ids[SERVOS_MEMBERS] = WIRING_IDS;
static const uint8_t registers[WIRING_DEVICES] = WIRING_REGISTERS; /* that are read of each device */
static const int8_t signs[WIRING_SERVOS] = WIRING_SIGNS;
static const uint8_t sensor_device[ROBOT_SENSORS] = WIRING_SENSOR_DEVICES;
static const uint8_t sensor_register[ROBOT_SENSORS] = WIRING_SENSOR_REGISTERS;

static void blame(struct servos *servos, uint8_t fault, uint32_t detail)
{
    if (servos->fault == FAULT_NONE) { /* the first one says most */
        servos->fault = fault;
        servos->detail = detail;
    }
}

static void lose(struct servos *servos, int member)
{
    servos->lost[member] = 1;
    blame(servos, FAULT_BUS_LOST, ids[member]);
}

static uint16_t address_of(int member)
{
    return member < WIRING_SERVOS ? X_INDIRECT_DATA : DEVICE_REGISTERS;
}

static uint16_t length_of(int member)
{
    return member < WIRING_SERVOS ? (uint16_t)GATHERED : (uint16_t)(4u * registers[member - WIRING_SERVOS]);
}

/* The same value into a register of all servos, unconfirmed. */
static void write_all(struct servos *servos, uint16_t address, const uint8_t *value, uint16_t size)
{
    struct dxl_packet packet;
    int i;
    uint16_t k;

    dxl_begin(&packet, DXL_BROADCAST, DXL_SYNC_WRITE);
    dxl_u16(&packet, address);
    dxl_u16(&packet, size);
    for (i = 0; i < WIRING_SERVOS; i++) {
        dxl_u8(&packet, ids[i]);
        for (k = 0; k < size; k++) {
            dxl_u8(&packet, value[k]);
        }
    }
    (void)dxl_send(&servos->bus, &packet);
}

static void write_byte_all(struct servos *servos, uint16_t address, uint8_t value)
{
    write_all(servos, address, &value, 1);
}

/* A register of one servo, confirmed; asks again where nothing comes, but for one that is lost. */
static enum dxl_result write_one(struct servos *servos, int i, uint16_t address, int32_t value, unsigned size)
{
    const int rounds = servos->lost[i] ? 0 : ROUNDS;
    enum dxl_result result = DXL_SILENT;
    struct dxl_status status;
    int round;

    for (round = 0; round <= rounds && (result == DXL_SILENT || result == DXL_UNSENT); round++) {
        result = dxl_write(&servos->bus, ids[i], address, value, size, &status);
    }
    return result;
}

static void send_goals(struct servos *servos, const int32_t *actuators)
{
    struct dxl_packet packet;
    int i;

    dxl_begin(&packet, DXL_BROADCAST, DXL_SYNC_WRITE);
    dxl_u16(&packet, X_GOAL_POSITION);
    dxl_u16(&packet, 4);
    for (i = 0; i < WIRING_SERVOS; i++) {
        dxl_u8(&packet, ids[i]);
        dxl_u32(&packet, (uint32_t)(WIRING_CENTRE + signs[i] * actuators[i]));
    }
    (void)dxl_send(&servos->bus, &packet);
}

/* ---- what everybody says ---- */

static void take_servo(struct servos *servos, int i, const struct dxl_status *status)
{
    const uint8_t error = status->data[AT_ERROR];

    servos->positions[i] = signs[i] * (dxl_get_i32(status->data + AT_POSITION) - WIRING_CENTRE);
    if (error != 0 || (status->error & DXL_ALERT) != 0) {
        blame(servos, FAULT_SERVO_ALERT, (uint32_t)ids[i] | (uint32_t)error << 8);
    }
    if (status->data[AT_TORQUE] == 0) {
        servos->loose[i] = 0;
    }
    if (servos->torque_on && (status->data[AT_TORQUE] != 1 || status->data[AT_WATCHDOG] != WIRING_WATCHDOG)) {
        blame(servos, FAULT_SERVO_STOPPED, ids[i]); /* its watchdog has stopped it, or it has restarted */
    }
}

/* An answer to the question of a control period; returns whose it is, or -1 for none of these. */
static int take(struct servos *servos, const struct dxl_status *status)
{
    int member;

    for (member = 0; member < SERVOS_MEMBERS && ids[member] != status->id; member++) {
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
        dxl_u8(&packet, ids[member]);
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
            dxl_read(&servos->bus, ids[member], address_of(member), length_of(member), &status) == DXL_OK) {
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

    for (round = 0; round < ROUNDS && left > 0; round++) {
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
                blame(servos, FAULT_BUS_LOST, WHOLE_BUS);
            }
            lose(servos, member);
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
    write_byte_all(servos, X_TORQUE_ENABLE, 0); /* at once; then who has heard it */
    for (i = 0; i < WIRING_SERVOS; i++) {
        servos->loose[i] = dxl_port_now_us() - start_us >= servos->budget_us ||
                           write_one(servos, i, X_TORQUE_ENABLE, 0, 1) != DXL_OK;
        if (servos->loose[i]) {
            lose(servos, i);
        }
    }
}

static void torque_on(struct servos *servos, const int32_t *actuators)
{
    int i;

    send_goals(servos, actuators); /* a goal of long ago is not where the first torque goes */
    for (i = 0; i < WIRING_SERVOS && servos->fault == FAULT_NONE; i++) {
        /* 0 clears a watchdog that has stopped the servo before */
        if (write_one(servos, i, X_BUS_WATCHDOG, 0, 1) != DXL_OK ||
            write_one(servos, i, X_BUS_WATCHDOG, WIRING_WATCHDOG, 1) != DXL_OK) {
            lose(servos, i);
        }
    }
    for (i = 0; i < WIRING_SERVOS && servos->fault == FAULT_NONE; i++) {
        const enum dxl_result result = write_one(servos, i, X_TORQUE_ENABLE, 1, 1);
        if (result == DXL_REFUSED) { /* as one does that has shut itself down */
            blame(servos, FAULT_SERVO_ALERT, ids[i]);
        } else if (result != DXL_OK) {
            lose(servos, i);
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
        if (servos->loose[i] && dxl_write(&servos->bus, ids[i], X_TORQUE_ENABLE, 0, 1, &status) == DXL_OK) {
            servos->loose[i] = 0;
        }
    }
}

/* ---- before anything moves ---- */

/* Registers of one servo; asks again where nothing comes. */
static enum dxl_result read_one(struct servos *servos, int i, uint16_t address, uint16_t length,
                                struct dxl_status *status)
{
    enum dxl_result result = DXL_SILENT;
    int round;

    for (round = 0; round <= ROUNDS && (result == DXL_SILENT || result == DXL_UNSENT); round++) {
        result = dxl_read(&servos->bus, ids[i], address, length, status);
    }
    return result;
}

/* A register in EEPROM that must have a value; written where it has another one, for EEPROM wears. */
static enum dxl_result settle(struct servos *servos, int i, uint16_t address, uint8_t found, uint8_t wanted)
{
    return found == wanted ? DXL_OK : write_one(servos, i, address, wanted, 1);
}

static int limits_hold_range(const uint8_t *limits, int i)
{
    int32_t low[ROBOT_ACTUATORS], high[ROBOT_ACTUATORS];
    int32_t first, last;
    int k;

    for (k = 0; k < ROBOT_ACTUATORS; k++) {
        low[k] = -HIGHEST_COUNT;
        high[k] = HIGHEST_COUNT;
    }
    robot_clip(low);
    robot_clip(high);
    first = WIRING_CENTRE + signs[i] * low[i];
    last = WIRING_CENTRE + signs[i] * high[i];
    return dxl_get_i32(limits) >= (first > last ? first : last) &&    /* maximum */
           dxl_get_i32(limits + 4) <= (first > last ? last : first); /* minimum */
}

static enum dxl_result gather(struct servos *servos, int i)
{
    enum dxl_result result = DXL_SILENT;
    struct dxl_packet packet;
    struct dxl_status status;
    int round;
    size_t k;

    for (round = 0; round <= ROUNDS && (result == DXL_SILENT || result == DXL_UNSENT); round++) {
        dxl_begin(&packet, ids[i], DXL_WRITE);
        dxl_u16(&packet, X_INDIRECT_ADDRESS);
        for (k = 0; k < GATHERED; k++) {
            dxl_u16(&packet, gathered[k]);
        }
        result = dxl_send(&servos->bus, &packet);
        if (result == DXL_OK) {
            result = dxl_await(&servos->bus, ids[i], 0, &status);
        }
    }
    return result;
}

/* DXL_REFUSED also for limits that cut the robot's range. */
static enum dxl_result set_up(struct servos *servos, int i)
{
    struct dxl_status status;
    enum dxl_result result = read_one(servos, i, X_RETURN_DELAY, 3, &status);

    if (result == DXL_OK) {
        result = settle(servos, i, X_RETURN_DELAY, status.data[0], 0);
    }
    if (result == DXL_OK) {
        result = settle(servos, i, X_DRIVE_MODE, status.data[1], 0);
    }
    if (result == DXL_OK) {
        result = settle(servos, i, X_OPERATING_MODE, status.data[2], X_POSITION_CONTROL);
    }
    if (result == DXL_OK) {
        result = gather(servos, i);
    }
    if (result == DXL_OK) {
        result = read_one(servos, i, X_MAX_POSITION, 8, &status);
    }
    if (result == DXL_OK && !limits_hold_range(status.data, i)) {
        result = DXL_REFUSED;
    }
    return result;
}

static void check_servo(struct servos *servos, int i)
{
    struct dxl_status status;
    enum dxl_result result = write_one(servos, i, X_TORQUE_ENABLE, 0, 1);

    servos->loose[i] = result != DXL_OK;
    if (result == DXL_OK) {
        result = read_one(servos, i, X_HARDWARE_ERROR, 1, &status);
    }
    if (result == DXL_OK && status.data[0] != 0) {
        blame(servos, FAULT_SERVO_ALERT, (uint32_t)ids[i] | (uint32_t)status.data[0] << 8);
        return;
    }
    if (result == DXL_OK) {
        result = set_up(servos, i);
    }
    if (result == DXL_REFUSED) {
        blame(servos, FAULT_SERVO_SETUP, ids[i]);
    } else if (result != DXL_OK) {
        lose(servos, i);
    } else {
        /* ready */
    }
}

void servos_check(struct servos *servos)
{
    static const uint8_t no_profile[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    const uint32_t start_us = dxl_port_now_us();
    struct dxl_status status;
    int i, here = 0;

    servos->fault = FAULT_NONE;
    servos->detail = 0;
    servos->torque_on = 0;
    memset(servos->misses, 0, sizeof servos->misses);
    memset(servos->lost, 0, sizeof servos->lost);
    write_byte_all(servos, X_TORQUE_ENABLE, 0);
    write_byte_all(servos, X_STATUS_RETURN, 2); /* all that follows is acknowledged */
    write_all(servos, X_PROFILE, no_profile, sizeof no_profile);
    for (i = 0; i < SERVOS_MEMBERS; i++) {
        /* on a bus that is dead nobody has answered for so long, and asking all the others would take too long */
        const int dead = here == 0 && dxl_port_now_us() - start_us >= servos->budget_us;
        const int there = !dead && (dxl_ping(&servos->bus, ids[i], &status) == DXL_OK ||
                                    dxl_ping(&servos->bus, ids[i], &status) == DXL_OK);
        here += there;
        if (!there) {
            lose(servos, i);
        } else if (i < WIRING_SERVOS) {
            check_servo(servos, i);
        } else {
            /* a device: there is nothing to set up */
        }
    }
    if (here == 0) {
        servos->detail = WHOLE_BUS;
    }
}

void servos_start(struct servos *servos, uint32_t timeout_us, uint32_t budget_us)
{
    memset(servos, 0, sizeof *servos);
    memset(servos->loose, 1, sizeof servos->loose);
    dxl_bus_init(&servos->bus, timeout_us);
    servos->budget_us = budget_us;
    servos_check(servos);
}
