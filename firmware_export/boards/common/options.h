/*
 * options.h - what the program of a board is told: --plant-fd N [--paced] [--unplug-at EPISODE:TICK]
 * [--store FILE] [--report FILE] [--bus-fd N].
 */
#ifndef OPTIONS_H
#define OPTIONS_H

struct options {
    int plant_fd;            /* inherited socket to the world */
    int bus_fd;              /* inherited socket to the servo bus; -1: there is none */
    int paced;               /* real time, and a world that always moves */
    unsigned unplug_episode; /* pull the cable in this episode, counted from 1; 0: never */
    unsigned unplug_tick;    /* at this control period of it */
    const char *report;      /* file for what was measured, written at the end; NULL: nothing is */
    const char *store;       /* file of what outlives a power cut; NULL: nothing does */
};

/* Arguments from `first` on; ends the program with `usage` when one is not understood or --plant-fd is missing. */
struct options options_parse(int argc, char **argv, int first, const char *usage);

#endif
