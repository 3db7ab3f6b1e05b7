#include "answers.h"

#include <string.h>

#include "alone.h"
#include "hal.h"

/* Each with a frame of its own: inlined into one function, they would all stand on the stack while one of them sends. */
#if defined(__GNUC__)
#define APART __attribute__((noinline))
#else
#define APART
#endif

static APART void send_status(struct firmware *firmware, uint32_t asked_us)
{
    uint8_t payload[LENGTH_STATUS_REPLY];
    struct msg_status_reply reply;

    reply.state = firmware->state;
    reply.fault = firmware->fault;
    reply.fault_detail = firmware->fault_detail;
    reply.bad_frames = firmware->receiver.bad + firmware->bad_messages;
    reply.wrong_session = firmware->wrong_session;
    reply.stale = firmware->stale;
    reply.watchdog_trips = firmware->watchdog_trips;
    reply.overruns = firmware->overruns;
    reply.unsent = firmware->unsent;
    reply.reused = firmware->reused;
    reply.crc32 = firmware->params.base_crc;
    reply.longest_tick_us = firmware->longest_tick_us;
    hal_stack(&reply.stack_bytes, &reply.stack_left);
    reply.asked_us = asked_us;
    reply.received_us = firmware->heard_us;
    firmware_send(firmware, payload,
                  msg_status_reply_put(firmware_header(firmware, payload, MSG_STATUS_REPLY, firmware->session), &reply));
}

static APART void send_readings(struct firmware *firmware)
{
    uint8_t payload[LENGTH_READINGS];
    struct msg_readings reply;

    reply.state = firmware->state;
    hal_sense(reply.sensors);
    memcpy(reply.actuators, safety_torque(firmware->state) ? firmware->episode.command : robot_safe,
           sizeof reply.actuators);
    firmware_send(firmware, payload,
                  msg_readings_put(firmware_header(firmware, payload, MSG_READINGS, firmware->session), &reply));
}

static APART void send_parameters(struct firmware *firmware, const uint8_t *fields)
{
    uint8_t payload[LENGTH_PARAMS_VALUES];
    struct msg_params_read question;
    struct msg_params_values reply;

    (void)msg_params_read_get(fields, &question);
    memset(&reply, 0, sizeof reply);
    reply.offset = question.offset;
    reply.used = params_read(&firmware->params, question.offset, reply.values);
    firmware_send(
        firmware, payload,
        msg_params_values_put(firmware_header(firmware, payload, MSG_PARAMS_VALUES, firmware->session), &reply));
}

int answers_question(struct firmware *firmware, const struct protocol_header *header, const uint8_t *fields)
{
    switch (header->type) {
    case MSG_STATUS:
        send_status(firmware, header->t_us);
        return 1;
    case MSG_READ:
        send_readings(firmware);
        return 1;
    case MSG_PARAMS_READ:
        send_parameters(firmware, fields);
        return 1;
    case MSG_PROGRESS:
        alone_report(firmware);
        return 1;
    default:
        return 0;
    }
}
