#pragma once

#include <string_view>

namespace hack::io {

/// Opens standard streams that are closed, so that no file of the program takes their numbers: standard error takes
/// what it is given and shows it nobody, writing to standard output fails. A reader that has gone makes writing fail,
/// too, in place of ending the program, and so does a limit on the size of files. To be called first of all.
void prepare_standard_streams();

/// Writes to standard error. Where that cannot be done (its disk is full, its reader or terminal gone) the message is
/// lost and the work goes on.
void print_message(std::string_view text) noexcept;

}  // namespace hack::io
