-- Ardour plays a score into a program, and records what comes back; test_ardour.py starts this and says when to go on.
--
-- arg: the session's folder, the score (a line for each note: onset, duration in ticks, pitch, velocity), its ticks, and
-- the program's input and output. Ticks are 480 to the beat, at Ardour's own 120 BPM.

local folder, score, length, input, output = table.unpack(arg)
local RATE, PER_TICK, TICKS = 48000, 50, 4 -- samples a second and a tick; Ardour's own ticks in one of ours
local BY_HAND = ARDOUR.TransportRequestSource.TRS_UI

local function say(what)
  io.stderr:write(what, "\n")
  io.read()
end

assert(AudioEngine:set_backend("JACK", "", ""))
local session = create_session(folder, "take", RATE)

local function midi_track(name)
  local one = ARDOUR.ChanCount(ARDOUR.DataType("midi"), 1)
  local last, normal = ARDOUR.PresentationInfo.max_order, ARDOUR.TrackMode.Normal
  return session:new_midi_track(one, one, true, ARDOUR.PluginInfo(), nil, nil, 1, name, last, normal, false):front()
end

local function arm(track, armed)
  track:rec_enable_control():set_value(armed, PBD.GroupControlDisposition.NoGroup)
end

-- Records into a track, from the start of the session until a sample; the region.
local function record(track, sample, meanwhile)
  session:goto_start(false)
  arm(track, 1)
  session:maybe_enable_record(true)
  session:request_roll(BY_HAND)
  meanwhile()
  while session:transport_sample() < sample do sleep(0.02) end
  session:request_stop(false, false, BY_HAND)
  for _ = 1, 100 do
    sleep(0.05)
    for region in track:playlist():region_list():iter() do
      arm(track, 0)
      assert(region:position():samples() == 0)
      return region
    end
  end
  error("nothing was recorded")
end

-- A region is made by recording only, and of silence none is made: so Ardour's own keyboard plays a note.
local function region_of(track)
  local keyboard = AudioEngine:get_port_by_name(":x-virtual-keyboard"):to_asyncmidiport()
  assert(keyboard:connect("call/midi_in 1") == 0)
  return record(track, RATE // 2, function()
    for _, message in ipairs { { 0x90, 60, 1 }, { 0x80, 60, 0 } } do
      sleep(0.15)
      local bytes = C.ByteVector()
      bytes:add(message)
      keyboard:write(bytes:to_array(), bytes:size(), 0)
    end
  end)
end

local function beats(ticks)
  return Temporal.Beats(ticks // 480, ticks % 480 * TICKS)
end

-- Writes the score into a region, in place of what is there.
local function write(region)
  local model = region:to_midiregion():midi_source(0):model()
  local edit = model:new_note_diff_command("score")
  for note in ARDOUR.LuaAPI.note_list(model):iter() do edit:remove(note) end
  for line in io.lines(score) do
    local n = {}
    for number in line:gmatch("%d+") do n[#n + 1] = math.tointeger(number) end
    edit:add(ARDOUR.LuaAPI.new_noteptr(0, beats(n[1]), beats(n[2]), n[3], n[4]))
  end
  model:apply_command(session, edit)
  region:set_length(Temporal.timecnt_t(length * PER_TICK))
end

length = math.tointeger(length)
local call, answer = midi_track("call"), midi_track("answer")
write(region_of(call))
assert(AudioEngine:connect(":MIDI Clock out", input) == 0)
assert(call:output():nth(0):connect(input) == 0)
assert(answer:input():nth(0):connect(output) == 0)
say("ready")
record(answer, length * PER_TICK + RATE // 4, function() end)
say("recorded")
session:save_state("", false, false, false, false, false)
close_session()
