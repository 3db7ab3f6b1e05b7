/* button.h - the reset button of an emulated board: SIGUSR1. */
#ifndef BUTTON_H
#define BUTTON_H

/* Begins to listen; before that the signal ends the program. */
void button_watch(void);

/* 1 once for each time that it was pressed, or several times in short. */
int button_pressed(void);

#endif
