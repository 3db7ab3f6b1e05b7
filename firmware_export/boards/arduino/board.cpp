/*
 * board.cpp - the controller's clock, line, memory and main loop on an Arduino, by Arduino's own functions.
 */
#include <string.h>

#include <Arduino.h>
#if defined(__AVR__)
#include <avr/eeprom.h>
#include <avr/wdt.h>
#endif

#include "board.h"
#include "core/build.h"
extern "C" {
#include "core/firmware.h"
#include "core/hal.h"
}

#define PERIOD ((uint32_t)ROBOT_CONTROL_PERIOD_US)
#define REST_US 20000UL        /* a wheel that has not moved for so long stands */
#define REST_LIMIT_US 5000000UL /* wait no longer for a robot that is being carried */

/* What Serial's own buffer (64 bytes on an AVR) cannot take of the records that one control period may send. */
#define WAITING_BYTES (BRIDGE_MAX_FRAME <= 110 ? 64u : 512u) /* a power of two */

static struct firmware firmware;
static uint8_t waiting[WAITING_BYTES];
static uint16_t waiting_in, waiting_out;
static uint8_t heartbeat_pin = esmaml::NOT_WIRED;
static uint32_t next_tick;

#if defined(__AVR__)
/* what else there is beside `firmware`: Arduino's core and the rest of this program, and the stack */
static_assert(sizeof(struct firmware) + 900 <= RAMEND - RAMSTART + 1,
              "this policy and robot take more RAM than this controller has: choose a smaller policy or a larger board");
#endif

/* ---- hal.h ---- */

uint32_t hal_now_us(void)
{
    return micros();
}

size_t hal_uart_read(uint8_t *data, size_t capacity)
{
    size_t count = 0;
    while (count < capacity && Serial.available() > 0) {
        data[count++] = (uint8_t)Serial.read();
    }
    return count;
}

static void pass_on(void)
{
    while (waiting_out != waiting_in && Serial.availableForWrite() > 0) {
        Serial.write(waiting[waiting_out % WAITING_BYTES]);
        waiting_out++;
    }
}

int hal_uart_write(const uint8_t *data, size_t length)
{
    size_t i;
    pass_on();
    if (length > WAITING_BYTES - (uint16_t)(waiting_in - waiting_out) + (size_t)Serial.availableForWrite()) {
        return 0;
    }
    for (i = 0; i < length; i++) {
        if (waiting_in == waiting_out && Serial.availableForWrite() > 0) {
            Serial.write(data[i]);
        } else {
            waiting[waiting_in % WAITING_BYTES] = data[i];
            waiting_in++;
        }
    }
    return 1;
}

/* For sensors and motors on a bus that can fail on its own; zeros are a complete answer where there is none. */
void hal_devices(int, struct hal_devices *devices)
{
    memset(devices, 0, sizeof *devices);
}

/* Nobody looks how deep the stack was: 0 says so. */
void hal_stack(uint16_t *used, uint16_t *left)
{
    *used = 0;
    *left = 0;
}

#if defined(__AVR__)

/* The EEPROM; its last four bytes count boots. */
uint32_t hal_store_size(void)
{
    return E2END + 1u - 4u;
}

void hal_store_read(uint32_t at, uint8_t *data, uint32_t length)
{
    eeprom_read_block(data, (const void *)(uint16_t)at, (size_t)length);
}

void hal_store_write(uint32_t at, const uint8_t *data, uint32_t length)
{
    uint32_t i;
    for (i = 0; i < length; i++) { /* 3.4 ms each, but for bytes that are right already */
        wdt_reset();
        eeprom_update_byte((uint8_t *)(uint16_t)(at + i), data[i]);
    }
}

static uint32_t another_number(void)
{
    uint32_t *const place = (uint32_t *)(E2END - 3);
    const uint32_t count = eeprom_read_dword(place) + 1u;
    eeprom_write_dword(place, count);
    return count;
}

static void start_watchdog(void)
{
    wdt_reset();
    /* twice: after a reset by this timer it is on already, with its shortest time, and simavr 1.6 then takes the first
     * half of the sequence that changes it for the change */
    wdt_enable(WDTO_500MS);
    wdt_enable(WDTO_500MS); /* a main loop that hangs ends in a reset, and a reset in released actuators */
}

static void feed_watchdog(void)
{
    wdt_reset();
}

/* An emulated world sees what is written to these registers; a chip has no use for them. */
static void tell_emulator(uint32_t episode_seed)
{
    uint8_t i;
    for (i = 0; i < 4; i++) {
        GPIOR1 = (uint8_t)(episode_seed & 0xFFu);
        GPIOR0 = (uint8_t)(i + 1u);
        episode_seed >>= 8;
    }
}
#define MEASURED(on) (GPIOR2 = (on)) /* around a control period, for an emulator that measures how long it takes */

#else

/* Another controller: Arduino has no memory that outlives a power cut on all of them, and no watchdog timer. With 0
 * bytes, keeping parameters is refused by name. Fill in both here if yours has them. */
uint32_t hal_store_size(void)
{
    return 0;
}

void hal_store_read(uint32_t, uint8_t *, uint32_t)
{
}

void hal_store_write(uint32_t, const uint8_t *, uint32_t)
{
}

/* Out of the noise of an analogue input. A counter that outlives a power cut is better, where there is one. */
static uint32_t another_number(void)
{
    uint32_t number = micros();
    for (uint8_t i = 0; i < 64; i++) {
        number = number * 31u + (uint32_t)analogRead(A0) + micros();
    }
    return number;
}

static void start_watchdog(void)
{
}

static void feed_watchdog(void)
{
}

static void tell_emulator(uint32_t)
{
}
#define MEASURED(on) ((void)(on))

#endif

/* Somebody has put the robot at its start, or is about to; wheels that stand say that it is there. */
void hal_episode_begin(uint32_t episode_seed)
{
    tell_emulator(episode_seed);
#if ENCODERS > 0
    const uint32_t begun = micros();
    uint32_t moved = begun;
    int32_t at[ENCODERS];
    uint8_t i;
    for (i = 0; i < ENCODERS; i++) {
        at[i] = esmaml::encoder(i);
    }
    while (micros() - moved < REST_US && micros() - begun < REST_LIMIT_US) {
        feed_watchdog();
        for (i = 0; i < ENCODERS; i++) {
            const int32_t now = esmaml::encoder(i);
            if (now != at[i]) {
                at[i] = now;
                moved = micros();
            }
        }
    }
#endif
}

/* ---- the main loop ---- */

namespace esmaml {

void power_stage(uint8_t pin, bool on)
{
    if (pin != NOT_WIRED) {
        digitalWrite(pin, on ? HIGH : LOW);
        pinMode(pin, OUTPUT); /* behind the level, so that it is never an output that is high by accident */
    }
}

static void beat(void)
{
    if (heartbeat_pin != NOT_WIRED) {
        digitalWrite(heartbeat_pin, digitalRead(heartbeat_pin) == HIGH ? LOW : HIGH);
    }
}

void begin(bool wired, uint8_t heartbeat, unsigned long baud)
{
    start_watchdog();
    if (heartbeat != NOT_WIRED) {
        heartbeat_pin = heartbeat;
        pinMode(heartbeat, OUTPUT);
    }
    Serial.begin(baud);
    firmware_init(&firmware, BOARD_NAME, (uint32_t)FIRMWARE_ID, another_number());
    if (!wired) {
        firmware_unfit(&firmware, FAULT_NOT_WIRED);
    }
    next_tick = micros() + PERIOD;
}

void turn()
{
    const uint8_t awaited = firmware.awaits;
    uint32_t now;

    feed_watchdog();
    pass_on();
    firmware_poll(&firmware);
    if (awaited && !firmware.awaits) {
        beat(); /* the host's commands of this period are there */
    }
    now = micros();
    if (now - next_tick >= (uint32_t)0x80000000UL) {
        return;
    }
    if (firmware.awaits) {
        beat(); /* they never came */
    }
    MEASURED(1);
    firmware_tick(&firmware);
    MEASURED(0);
    if (!firmware.awaits) {
        beat();
    }
    if (firmware.state == STATE_RUN && firmware.episode.tick == 0) {
        next_tick = firmware.first_tick_us; /* that waited for the robot to stand: the episode's periods count from it */
    }
    next_tick += PERIOD;
    if (now - next_tick < (uint32_t)0x80000000UL) {
        next_tick = now + PERIOD; /* a whole period was missed: the firmware has counted it */
    }
}

} // namespace esmaml
