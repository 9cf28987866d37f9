// Journals of compressions: the files of a rank as they are (first byte 0), or records and states with valid digests,
// from which a compression is to go on.

#include <nlohmann/json.hpp>

#include "comm/journal.hpp"
#include "io/byte_stream.hpp"
#include "svd/archive/part_record.hpp"
#include "svd/archive/factor_archive_writer.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "tests/support/example_archive.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::fuzz {
namespace {

namespace fs = std::filesystem;
using comm::Communicator;
using comm::Journal;

const Communicator& self() {
  static const Communicator made = Communicator::self();
  return made;
}

fs::path folder() { return scratch_folder() / "a.h5.parts"; }
fs::path journal_file() { return folder() / "rank-0.journal"; }
fs::path state_file() { return folder() / "rank-0.state-1"; }

std::string part_bytes(testing::Example example) {
  io::ByteWriter record;
  svd::put_part(record, testing::example_part(self(), "m", svd::TileGrid(9, 14, 4, 4), Codec::int8, example));
  return record.bytes();
}

std::vector<std::string> seeds() {
  {
    Journal journal(self(), folder(), "key", false);
    journal.append("first record", {});
    journal.append("second record", {});
  }
  return {'\0' + joined({testing::read_file(journal_file()), testing::read_file(state_file())}),
          '\1' + part_bytes(testing::Example::all_kinds), '\1' + part_bytes(testing::Example::sums)};
}

void read_files(std::string_view bytes) {
  const std::vector<std::string_view> sections = sections_of(bytes, 2);
  fs::create_directories(folder());
  testing::write_file(journal_file(), std::string(sections[0]));
  testing::write_file(state_file(), std::string(sections[1]));
  accepts(folder(), [] {
    Journal journal(self(), folder(), "key", true);
    const index_t before = journal.steps();
    for (index_t step = 0; step < before; ++step) journal.record(step);
    if (before > 0) journal.state();
    journal.append("next", {});
    if (journal.steps() != before + 1) report_finding("a step is lost");
  });
}

/// Takes a matrix from a record and writes it into an archive, as a run does that goes on.
void read_part(std::string_view bytes) {
  const fs::path path = scratch_folder() / "a.h5";
  try {
    io::ByteReader record(bytes);
    const svd::MatrixPart part = svd::get_part(record);
    svd::FactorArchiveWriter writer(self(), path, testing::example_info(Codec::int8));
    writer.write(part);
    writer.finish();
  } catch (const Error&) {
    // The journal is named by whoever reads its records.
  }
}

void read(std::string_view bytes) {
  if (bytes.empty()) return;
  if (bytes.front() % 2 == 0) return read_files(bytes.substr(1));
  read_part(bytes.substr(1));
}

}  // namespace

const Target& target() {
  static const Target here{"journal", seeds, read};
  return here;
}

}  // namespace hack::fuzz
