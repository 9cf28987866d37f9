// Reports and tables that the program reads again. The first byte of an input chooses: times (`--times`), the machine
// of a study, and rows of sweeps and studies, whose records have valid digests.

#include <nlohmann/json.hpp>

#include "io/byte_stream.hpp"
#include "io/record_file.hpp"
#include "jobs/compression/apply_times.hpp"
#include "jobs/compression/sweep_table.hpp"
#include "jobs/study/cost_model.hpp"
#include "jobs/study/measured_rows.hpp"
#include "jobs/study/study_table.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "tests/support/temporary_directory.hpp"

namespace hack::fuzz {
namespace {

namespace fs = std::filesystem;
using comm::Communicator;
using io::RecordFile;

const std::string times_report =
    R"({"results":{"break_even":[{"kind":"interpolative","type":"bf16","codec":"bf16","tokens":1,"faster_up_to_rank":64},)"
    R"({"kind":"pivoted","type":"bf16","tokens":1}],"rows":[{"kind":"dense","tokens":1,"codec":"bf16","seconds":0.5},)"
    R"({"kind":"dense","tokens":1,"codec":"q4_0","seconds":0.25}]}})";

const std::string study_rows =
    R"([{"phase":"decode","ranks":1,"nodes":1,"seconds":0.5,"rate":10,"unit":"tokens","threads":1,"cores":2,"tensor_parallel":1,)"
    R"("data_parallel":1},{"phase":"allreduce","ranks":2,"nodes":1,"seconds":0.001,"rate":1e6,"unit":"bytes","bytes":1024}])";

std::string sweep_record() {
  io::ByteWriter record;
  record.put(std::string("feedback"));
  record.put(std::string("id"));
  for (int n = 0; n < 4; ++n) record.put(0.5);
  for (int n = 0; n < 3; ++n) record.put(1.5);
  return record.bytes();
}

std::vector<std::string> seeds() {
  nlohmann::json study;
  study["machine"] = jobs::to_json(jobs::published_machine("h100"));
  return {'\0' + times_report,
          '\1' + study.dump(),
          '\2' + sweep_record(),
          '\3' + study_rows,
          '\1' + std::string(100000, '['),
          '\0' + ("{\"results\":{\"break_even\":" + std::string(60000, '[') + std::string(60000, ']') + "}}")};
}

void read_times(const fs::path& path) {
  const jobs::ApplyTimes times(path.string());
  const auto use = [](auto f) {
    try {
      f();
    } catch (const Error& error) {
      if (std::string_view(error.what()).find("--times") == std::string_view::npos) throw;
    }
  };
  use([&] { times.fast_share(svd::Structure::interpolative, Codec::bf16, 1); });
  use([&] { times.fast_share(svd::Structure::low_rank, Codec::q4_0, 1); });
  const Codec codecs[] = {Codec::q4_0};
  use([&] { times.fast_codecs(codecs, 1); });
}

void read_sweep(std::string_view content) {
  static const fs::path path = scratch_folder() / "sweep.csv";
  static const Communicator self = Communicator::self();
  const fs::path records = path.string() + ".records";
  const nlohmann::json key = {{"rule", "keep"}, {"texts", {"text"}}, {"scores", "perplexity, divergence, same top"}};
  RecordFile file(records, "sweep", key);
  file.clear();
  file.append("id", content, RecordFile::Durable::within_a_second);
  accepts(path, [&] { jobs::SweepTable(self, path, "keep", {"text"}).markdown({"id"}); });
}

void read_study(std::string_view content) {
  static const fs::path prefix = scratch_folder() / "study";
  const fs::path records = prefix.string() + ".records";
  RecordFile file(records, "study", "key");
  file.clear();
  file.append("decode", content, RecordFile::Durable::within_a_second);
  accepts(prefix, [&] {
    jobs::StudyTable table(prefix, "key");
    table.has("decode", 1);
    table.compare();
    jobs::MeasuredRows rows(table.rows());
    rows.bandwidth(4);
    rows.crowding(4);
    table.finish(nlohmann::json::object(), "title");
  });
}

void read(std::string_view bytes) {
  static const ScratchFile file("report.json");
  if (bytes.empty()) return;
  const std::string_view content = bytes.substr(1);
  switch (bytes.front() % 4) {
    case 0:
      file.write(content);
      accepts(file.path(), [] { read_times(file.path()); });
      return;
    case 1:
      file.write(content);
      accepts(file.path(), [] { jobs::open_machine(file.path().string()); });
      return;
    case 2:
      return read_sweep(content);
    default:
      return read_study(content);
  }
}

}  // namespace

const Target& target() {
  static const Target here{"reports", seeds, read};
  return here;
}

}  // namespace hack::fuzz
